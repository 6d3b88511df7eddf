import { asObject } from './encoding.ts';
import { type FaultBoard, readFaultOrder } from './faults.ts';
import { type HttpHandler, type Listening, listen, send } from './http-server.ts';

/** What the faults port needs of the chain. */
export type FaultsServerParts = {
  readonly faults: FaultBoard;
  readonly nowMs: () => number;
  describe(): unknown;
  ledger(): unknown;
  fork(blocks: number, transactions: 'drop' | 'readmit'): Promise<unknown>;
};

/**
 * A port beside the node's: `GET /chain`, `GET|POST|DELETE /faults`, `GET /ledger`. It is the operator's and the
 * tests' way behind the chain; payment software must never see it.
 */
export function startFaultsServer(host: string, port: number, parts: FaultsServerParts): Promise<Listening> {
  const handle: HttpHandler = async (request, response, body) => {
    const json = (status: number, value: unknown): void =>
      send(response, status, 'application/json', `${JSON.stringify(value)}\n`);
    const route = `${request.method} ${new URL(request.url ?? '/', 'http://faults').pathname}`;
    switch (route) {
      case 'GET /chain':
        return json(200, parts.describe());
      case 'GET /ledger':
        return json(200, parts.ledger());
      case 'GET /faults':
        return json(200, parts.faults.list());
      case 'DELETE /faults':
        parts.faults.clear();
        return json(200, []);
      case 'POST /faults':
        return json(...(await setFault(parts, body)));
      default:
        return json(404, { error: 'try GET /chain, GET /ledger, GET, POST or DELETE /faults' });
    }
  };
  return listen(host, port, handle);
}

async function setFault(parts: FaultsServerParts, body: string): Promise<[number, unknown]> {
  try {
    const json = asObject(JSON.parse(body));
    if (json === undefined) throw new TypeError('a fault is a JSON object');
    const order = readFaultOrder(json, parts.nowMs());
    if ('fork' in order) return [200, await parts.fork(order.fork.blocks, order.fork.transactions)];
    return [200, parts.faults.set(order.fault)];
  } catch (error) {
    if (error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError) {
      return [400, { error: error.message }];
    }
    throw error;
  }
}
