/** Starts an instance, invokes it once, prints the process ids, and stays until killed; for rie-instance.test.ts. */
import { join } from 'node:path';
import { ensureRie } from '../../../build/rie.ts';
import { startRieInstance } from '../../../deploy/local/rie-instance.ts';
import { freePorts } from '../../support/ports.ts';

const [port = 0, runtimePort = 0] = await freePorts(2);
const instance = await startRieInstance({
  name: 'echo',
  riePath: (await ensureRie()).path,
  nodePath: process.execPath,
  taskRoot: join(import.meta.dirname, 'echo'),
  port,
  runtimePort,
  env: {},
  timeoutSeconds: 60,
  memoryMb: 256,
  log: () => {},
});
const response = await fetch(instance.invokeUrl, { method: 'POST', body: '{}' });
const { pid } = (await response.json()) as { pid: number };
console.log(instance.pid, pid);
