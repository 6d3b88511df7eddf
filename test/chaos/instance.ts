/**
 * One instance of a function as cheap as it can be and still be honest: a process of its own that loads the bundle
 * and answers where the Runtime Interface Emulator would, with real sockets to the database and to the chain.
 *
 *   node instance.mjs PATH_TO_HANDLER PORT
 *
 * The emulator itself stays out of the way: what is killed here is the function's process, at an instant that the
 * driver chose (`mortal-engine.ts`), and starting the emulator as well would double the cost of a life.
 */
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import type { Handler } from '../../shared/runtime/lambda.ts';

const INVOKE_PATH = '/2015-03-31/functions/function/invocations';
/** As the sidecar believes of its functions. */
const TIMEOUT_MS = 30_000;

const [handlerPath = '', port = ''] = process.argv.slice(2);
const loading = import(pathToFileURL(handlerPath).href) as Promise<{ readonly handler: Handler }>;
let invocations = 0;

const server = createServer(async (request, response) => {
  if (request.url !== INVOKE_PATH) {
    response.writeHead(404).end('404 page not found\n');
    return;
  }
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  const { handler } = await loading;
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
server.listen(Number(port), '127.0.0.1');
