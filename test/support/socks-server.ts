import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** What a client asked the proxy for. */
export interface SocksRequest {
  readonly user: string | null;
  readonly password: string | null;
  /** RFC 1928: how the destination was named. A name has not been resolved by the client. */
  readonly addressType: 'name' | 'ipv4' | 'ipv6';
  readonly host: string;
  readonly port: number;
}

export interface SocksServer {
  readonly port: number;
  readonly requests: readonly SocksRequest[];
  /** Connections accepted so far, also those that never asked for anything. */
  readonly connections: () => number;
  close(): Promise<void>;
}

export interface SocksServerSettings {
  /** The loopback port that stands for every destination; null refuses all of them. */
  readonly destinationPort: number | null;
  /** Accepts the connection and then says nothing: before the greeting is answered, or before the connection is. */
  readonly hangsAt?: 'greeting' | 'connection';
  /** Any free one where none is given. */
  readonly port?: number;
}

/** A SOCKS5 proxy (RFC 1928, with user and password by RFC 1929) that, as Tor does, prefers to be told a user. */
export async function startSocksServer(settings: SocksServerSettings): Promise<SocksServer> {
  const requests: SocksRequest[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;

  async function serve(client: Socket): Promise<void> {
    const read = reader(client);
    const [, methodCount = 0] = await read(2);
    const methods = await read(methodCount);
    if (settings.hangsAt === 'greeting') return;
    let user: string | null = null;
    let password: string | null = null;
    if (methods.includes(2)) {
      client.write(Buffer.from([5, 2]));
      const [, userLength = 0] = await read(2);
      user = (await read(userLength)).toString();
      const [passwordLength = 0] = await read(1);
      password = (await read(passwordLength)).toString();
      client.write(Buffer.from([1, 0]));
    } else {
      client.write(Buffer.from([5, 0]));
    }
    const [, , , type = 0] = await read(4);
    const { addressType, host } = await readAddress(type, read);
    const port = (await read(2)).readUInt16BE();
    requests.push({ user, password, addressType, host, port });
    if (settings.hangsAt === 'connection') return;
    if (settings.destinationPort === null) {
      client.end(Buffer.from([5, 5, 0, 1, 0, 0, 0, 0, 0, 0]));
      return;
    }
    const destination = connect(settings.destinationPort, '127.0.0.1');
    sockets.add(destination);
    destination.on('error', () => client.destroy());
    destination.on('close', () => client.destroy());
    client.on('close', () => destination.destroy());
    destination.on('connect', () => {
      client.write(Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]));
      client.pipe(destination).pipe(client);
    });
  }

  const server = createServer((client) => {
    connections += 1;
    sockets.add(client);
    client.on('error', () => client.destroy());
    serve(client).catch(() => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(settings.port ?? 0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    connections: () => connections,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

type Read = (length: number) => Promise<Buffer>;

/** Reads exactly so many bytes and leaves the rest in the socket. */
function reader(socket: Socket): Read {
  return (length) =>
    new Promise((resolve, reject) => {
      if (length === 0) {
        resolve(Buffer.alloc(0));
        return;
      }
      const onClose = () => reject(new Error('closed'));
      const attempt = () => {
        const bytes = socket.read(length) as Buffer | null;
        if (bytes === null || bytes.length < length) return;
        socket.off('readable', attempt);
        socket.off('close', onClose);
        resolve(bytes);
      };
      socket.on('readable', attempt);
      socket.on('close', onClose);
      attempt();
    });
}

async function readAddress(type: number, read: Read): Promise<Pick<SocksRequest, 'addressType' | 'host'>> {
  if (type === 1) return { addressType: 'ipv4', host: [...(await read(4))].join('.') };
  if (type === 4) return { addressType: 'ipv6', host: (await read(16)).toString('hex') };
  const [length = 0] = await read(1);
  return { addressType: 'name', host: (await read(length)).toString() };
}
