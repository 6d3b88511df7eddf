import { torDialer } from '../../../shared/adapters/tron/dialer.ts';
import { nodeClient } from '../../../shared/adapters/tron/node-client.ts';

/** Asks the node once through the proxy and prints how it went: for environments that a process starts with. */
const [proxyPort = '', url = ''] = process.argv.slice(2);
const node = nodeClient({
  url,
  dialer: torDialer({ host: '127.0.0.1', port: Number(proxyPort) }),
  purpose: 'test',
  timeoutMs: 20_000,
});
const outcome = await node.post('/x', {}).then(
  (answer) => JSON.stringify(answer),
  (error: { code: string }) => error.code,
);
process.stdout.write(outcome, () => process.exit(0));
