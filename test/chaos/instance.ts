import { createServer } from 'node:http';
import type { DeferredHandler } from './deferred-lambda.ts';

const INVOKE_PATH = '/2015-03-31/functions/function/invocations';
/** As the sidecar believes of its functions. */
const TIMEOUT_MS = 30_000;

/**
 * Answers where the Runtime Interface Emulator would. The emulator itself stays out of the way: what is killed is the
 * function's process, at an instant that the driver chose, and starting the emulator as well would multiply the cost
 * of a life.
 */
export function serve(deferred: DeferredHandler, port: number, onServing: () => void): void {
  const starting = deferred.coldStart();
  let invocations = 0;
  const server = createServer(async (request, response) => {
    if (request.url !== INVOKE_PATH) {
      response.writeHead(404).end('404 page not found\n');
      return;
    }
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    const handler = await starting;
    const endsAtMs = Date.now() + TIMEOUT_MS;
    // The emulator ends a function that takes too long.
    const late = setTimeout(() => process.exit(1), TIMEOUT_MS);
    invocations += 1;
    const context = {
      awsRequestId: `chaos-${process.pid}-${invocations}`,
      callbackWaitsForEmptyEventLoop: false,
      getRemainingTimeInMillis: () => endsAtMs - Date.now(),
    };
    const answer = await handler(JSON.parse(text), context as never).then(
      (result) => JSON.stringify(result ?? null),
      (error: unknown) =>
        JSON.stringify({
          errorType: 'Error',
          errorMessage: error instanceof Error ? error.message : String(error),
        }),
    );
    clearTimeout(late);
    response.setHeader('content-length', Buffer.byteLength(answer));
    response.end(answer);
  });
  server.listen(port, '127.0.0.1');
  void starting.then(onServing);
}
