import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

const TIMEOUT_MS = 30_000;

/** A circuit that is built, and whose streams it carries: the SOCKS user that the functions call a purpose. */
export interface TorCircuit {
  readonly id: string;
  readonly purpose: string;
  readonly password: string;
}

/** Asks a Tor by its control port, as the health probe does, for the circuits that its SOCKS users have. */
export async function readCircuits(port: number, cookieFile: string): Promise<TorCircuit[]> {
  const cookie = readFileSync(cookieFile).toString('hex');
  const socket = connect({ host: '127.0.0.1', port });
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('the control port does not answer')));
  socket.end(`AUTHENTICATE ${cookie}\r\nGETINFO circuit-status\r\nQUIT\r\n`);
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  if (!answer.startsWith('250 OK')) throw new Error(`the control port refuses: ${answer.split('\r\n')[0]}`);
  return answer.split('\r\n').flatMap((line) => {
    const [, id] = /^(\d+) BUILT /.exec(line) ?? [];
    const [, purpose] = / SOCKS_USERNAME="([^"]*)"/.exec(line) ?? [];
    const [, password = ''] = / SOCKS_PASSWORD="([^"]*)"/.exec(line) ?? [];
    return id === undefined || purpose === undefined ? [] : [{ id, purpose, password }];
  });
}
