import type { ServerResponse } from 'node:http';
import type { Side } from './chain.ts';
import { renderJson } from './encoding.ts';
import type { Fault, FaultBoard, FaultKind } from './faults.ts';
import { type HttpHandler, type Listening, listen, send, waitForClient } from './http-server.ts';
import type { WalletApi } from './wallet-api.ts';

const JSON_TYPE = 'application/json;charset=utf-8';
const HTML_TYPE = 'text/html;charset=iso-8859-1';
/** A hanging connection is cut at last, so that a forgotten fault holds no sockets for ever. */
const HANG_MS = 120_000;

/** The node's own port: `/wallet/…` from the head of the chain, `/walletsolidity/…` from its solid snapshot. */
export function startNodeServer(
  host: string,
  port: number,
  api: Pick<WalletApi, 'answer'>,
  faults: FaultBoard,
): Promise<Listening> {
  const handle: HttpHandler = async (request, response, body) => {
    const url = new URL(request.url ?? '/', 'http://node');
    const method = request.method === 'GET' ? 'GET' : 'POST';
    const struck = new Map<FaultKind, Fault>();
    for (const fault of faults.strike(method, url.pathname)) struck.set(fault.kind, fault);
    if (await interfere(struck, response)) return;
    const [, root, endpoint = ''] = /^\/(wallet|walletsolidity)\/([a-z0-9]+)\/?$/i.exec(url.pathname) ?? [];
    const side: Side = root === 'walletsolidity' ? 'solid' : 'head';
    const answer =
      root === undefined || (request.method !== 'GET' && request.method !== 'POST')
        ? undefined
        : await api.answer(side, endpoint, {
            method,
            body,
            query: url.searchParams,
            drop: struck.has('drop'),
          });
    const late = struck.get('accept-then-timeout');
    if (late !== undefined) {
      // The transaction is in the pool by now; its sender never learns.
      await waitForClient(response, late.ms ?? HANG_MS);
      response.destroy();
      return;
    }
    if (answer === undefined) sendNotFound(response, request.method ?? 'GET', url.pathname);
    else send(response, 200, JSON_TYPE, renderJson(answer));
  };
  return listen(host, port, handle);
}

/** Lets the faults do their harm before the node sees the request. @returns true when that was all. */
async function interfere(struck: ReadonlyMap<FaultKind, Fault>, response: ServerResponse): Promise<boolean> {
  const delay = struck.get('delay');
  if (delay !== undefined) await waitForClient(response, delay.ms ?? 0);
  const hang = struck.get('hang');
  if (hang !== undefined) {
    await waitForClient(response, hang.ms ?? HANG_MS);
    response.destroy();
    return true;
  }
  const status = struck.get('status');
  if (status !== undefined) {
    send(
      response,
      status.status ?? 503,
      'text/plain',
      status.message ?? 'refused by a fault of the development chain',
    );
    return true;
  }
  const error = struck.get('error200');
  if (error !== undefined) {
    const message = error.message ?? 'class java.lang.IllegalAccessException : lack of computing resources';
    send(response, 200, JSON_TYPE, renderJson({ Error: message }));
    return true;
  }
  return false;
}

/** What java-tron's web server says of a path that it does not know: 404 to a GET, 405 to anything else. */
function sendNotFound(response: ServerResponse, method: string, path: string): void {
  const [status, text] =
    method === 'GET' ? [404, 'Not Found'] : [405, `HTTP method ${method} is not supported by this URL`];
  const uri = path.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);
  send(
    response,
    status,
    HTML_TYPE,
    [
      '<html>',
      '<head>',
      '<meta http-equiv="Content-Type" content="text/html;charset=ISO-8859-1"/>',
      `<title>Error ${status} ${text}</title>`,
      '</head>',
      `<body><h2>HTTP ERROR ${status} ${text}</h2>`,
      '<table>',
      `<tr><th>URI:</th><td>${uri}</td></tr>`,
      `<tr><th>STATUS:</th><td>${status}</td></tr>`,
      `<tr><th>MESSAGE:</th><td>${text}</td></tr>`,
      '<tr><th>SERVLET:</th><td>development chain</td></tr>',
      '</table>',
      '<hr/>',
      '',
      '</body>',
      '</html>',
      '',
    ].join('\n'),
  );
}
