import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

/** A resolver that knows some names, and remembers what it was asked for. */
export interface DnsServer {
  readonly asked: readonly string[];
  close(): void;
}

const TYPE_A = 1;
const NAME_ERROR = 3;

/** @param addresses IPv4 addresses by name */
export async function startDnsServer(
  host: string,
  addresses: Readonly<Record<string, string>>,
): Promise<DnsServer> {
  const asked: string[] = [];
  const socket: Socket = createSocket('udp4');
  socket.on('message', (query, sender) => {
    const question = readQuestion(query);
    asked.push(question.name);
    const reply = answer(query, question, addresses[question.name.toLowerCase()]);
    socket.send(reply, sender.port, sender.address);
  });
  socket.bind(53, host);
  await once(socket, 'listening');
  return { asked, close: () => socket.close() };
}

interface Question {
  readonly name: string;
  readonly type: number;
  /** Where it ends in the query. */
  readonly end: number;
}

/** RFC 1035 section 4.1.2: labels with their lengths, a zero, the type and the class. */
function readQuestion(query: Buffer): Question {
  const labels: string[] = [];
  let at = 12;
  for (let length = query.readUInt8(at); length !== 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.'), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function answer(query: Buffer, { type, end }: Question, address: string | undefined): Buffer {
  const records = address !== undefined && type === TYPE_A ? [recordOf(address)] : [];
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  // A response, recursion desired and available.
  header.writeUInt16BE(0x8180 | (address === undefined ? NAME_ERROR : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  return Buffer.concat([header, query.subarray(12, end), ...records]);
}

function recordOf(address: string): Buffer {
  const record = Buffer.alloc(16);
  // The name as it stands in the question, an address, of the Internet, good for no longer than now.
  record.writeUInt16BE(0xc00c, 0);
  record.writeUInt16BE(TYPE_A, 2);
  record.writeUInt16BE(1, 4);
  record.writeUInt32BE(0, 6);
  record.writeUInt16BE(4, 10);
  record.set(address.split('.').map(Number), 12);
  return record;
}
