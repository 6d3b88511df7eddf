import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the function inside does with an event. */
export type FakeFunction = (event: Record<string, unknown>) => FakeOutcome | Promise<FakeOutcome>;

export type FakeOutcome =
  | { readonly result: unknown }
  /** The function threw. */
  | { readonly error: string }
  /** The function did not end in time. */
  | { readonly timeoutSeconds: number }
  /** The runtime ended. */
  | { readonly exitStatus: number }
  /** RIE itself dies in the middle of the invoke. */
  | { readonly dies: true };

export interface FakeRieOptions {
  readonly port?: number;
  /** Of the loopback network, so that instances can differ by address as containers do. */
  readonly host?: string;
}

/**
 * Stands in for RIE in classic mode where a test needs to hold, count or break invokes at will: one in flight,
 * death by the second, the shapes of its errors, 404 for a ping. Tests with the real one stand beside.
 */
export class FakeRie {
  readonly events: Record<string, unknown>[] = [];
  /** True once a second invoke came while one was running. */
  crashed = false;
  inFlight = 0;
  readonly #server: Server;
  readonly #function: FakeFunction;

  private constructor(run: FakeFunction) {
    this.#function = run;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(
    run: FakeFunction,
    { port = 0, host = '127.0.0.1' }: FakeRieOptions = {},
  ): Promise<FakeRie> {
    const rie = new FakeRie(run);
    await new Promise<void>((resolve, reject) => {
      rie.#server.once('error', reject);
      rie.#server.listen(port, host, resolve);
    });
    return rie;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends as a killed process does: connections cut, nobody listening. */
  kill(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url !== '/2015-03-31/functions/function/invocations') {
      response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('404 page not found\n');
      return;
    }
    if (this.inFlight > 0) {
      this.crashed = true;
      await this.kill();
      return;
    }
    this.inFlight += 1;
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    const event = JSON.parse(text) as Record<string, unknown>;
    this.events.push(event);
    const outcome = await this.#function(event);
    this.inFlight -= 1;
    if ('dies' in outcome) await this.kill();
    else answer(response, outcome);
  }
}

function answer(response: ServerResponse, outcome: Exclude<FakeOutcome, { dies: true }>): void {
  if ('result' in outcome) {
    response.end(JSON.stringify(outcome.result ?? null));
  } else if ('error' in outcome) {
    const trace = [`Error: ${outcome.error}`, '    at handler (file:///secret/place.mjs:1:1)'];
    response.end(JSON.stringify({ errorType: 'Error', errorMessage: outcome.error, trace }));
  } else if ('timeoutSeconds' in outcome) {
    response.end(`Task timed out after ${outcome.timeoutSeconds}.00 seconds`);
  } else {
    const errorMessage = `RequestId: 0 Error: Runtime exited with error: exit status ${outcome.exitStatus}`;
    response.writeHead(502).end(JSON.stringify({ errorType: 'Runtime.ExitError', errorMessage }));
  }
}
