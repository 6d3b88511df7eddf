/**
 * A Tor network for development, beside which no other exists for its clients: three directory authorities that are
 * relays and exits too. Tor itself makes their keys, in containers without a network.
 *
 * What each setting is for stands in tor's manual; the short voting times make it usable half a minute after it starts.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from './engine.ts';
import { type Owner, own } from './state.ts';

const RELAYS = [1, 2, 3] as const;
const addressOf = (relay: number) => `172.36.0.1${relay}`;
const OR_PORT = 9001;
const DIR_PORT = 9030;
/** Certificates of authorities live for a year at most; after half of one all is made anew. */
const KEYS_MONTHS = 12;
const KEYS_MS_MAX = 180 * 86_400_000;

/** What clients and relays share: the one network there is for them. */
export const SHARED = `TestingTorNetwork 1
PathsNeededToBuildCircuits 0.67
V3AuthNIntervalsValid 2
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
ConfluxEnabled 0
UseMicrodescriptors 0
`;

/** A directory authority that agrees with the others every ten seconds, and finds every relay fit for everything. */
export const AUTHORITY = `ContactInfo nobody
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
V3AuthVotingInterval 10
V3AuthVoteDelay 2
V3AuthDistDelay 2
TestingAuthDirTimeToLearnReachability 0
TestingDirAuthVoteExit *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
TestingMinFastFlagThreshold 0
`;

/**
 * A relay that is an exit for the port of the development chain and for no other. Not for its address alone: clients
 * ask for a name, and would take a relay that names one address for one that leads nowhere.
 */
export const EXIT = `SocksPort 0
Log notice stdout
ShutdownWaitLength 0
AssumeReachable 1
ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept *4:9090
ExitPolicy reject *:*
ServerDNSDetectHijacking 0
ServerDNSTestAddresses
ServerDNSAllowBrokenConfig 1
`;

const relayTorrc = (relay: number) => `Nickname relay${relay}
Address ${addressOf(relay)}
ORPort ${addressOf(relay)}:${OR_PORT}
DirPort ${addressOf(relay)}:${DIR_PORT}
DataDirectory /var/lib/tor
SafeLogging 1
${AUTHORITY}${EXIT}`;

/**
 * Makes keys and configuration where there are none, or where they are old.
 *
 * @param image an image in which tor and tor-gencert are
 */
export async function ensurePrivateTor(
  engine: Engine,
  options: { readonly folder: string; readonly image: string; readonly owner: Owner },
): Promise<void> {
  const { folder, image, owner } = options;
  const stampFile = join(folder, 'made.json');
  const form = createHash('sha256').update(SHARED).update(relayTorrc(1)).digest('hex');
  if (existsSync(stampFile)) {
    const made = JSON.parse(readFileSync(stampFile, 'utf8')) as {
      readonly form: string;
      readonly atMs: number;
    };
    if (made.form === form && Date.now() - made.atMs < KEYS_MS_MAX) return;
  }
  rmSync(folder, { recursive: true, force: true });
  const work = `${folder}.work`;
  rmSync(work, { recursive: true, force: true });
  const authorities = await Promise.all(
    RELAYS.map((relay) =>
      makeAuthority(engine, { folder: join(work, `relay-${relay}`), relay, image, owner }),
    ),
  );
  writeFileSync(join(work, 'torrc-defaults'), `${SHARED}${authorities.join('\n')}\n`);
  writeFileSync(join(work, 'made.json'), JSON.stringify({ form, atMs: Date.now() }));
  renameSync(work, folder);
}

/**
 * A relay tells the authorities of itself when it starts, and not again for hours: one that was there well before the
 * others is known to itself alone, and no circuit has a third relay then. So each starts again while the others are there,
 * and the client after them.
 */
export async function introduceRelays(engine: Engine): Promise<void> {
  for (const relay of RELAYS) await engine.compose(['restart', `tor-relay-${relay}`]);
  await engine.compose(['restart', 'tor-proxy']);
}

/** @returns its line for the configuration of all. */
async function makeAuthority(
  engine: Engine,
  options: { readonly folder: string; readonly relay: number; readonly image: string; readonly owner: Owner },
): Promise<string> {
  const { folder, relay, image, owner } = options;
  const keys = join(folder, 'data/keys');
  mkdirSync(keys, { recursive: true, mode: 0o700 });
  for (const path of [folder, join(folder, 'data'), keys]) own(path, owner);
  writeFileSync(join(folder, 'torrc'), relayTorrc(relay));
  const tool = ['run', '--rm', '--interactive', '--network', 'none', '--user', `${owner.uid}:${owner.gid}`];
  await engine.docker(
    [
      ...[
        ...tool,
        '--volume',
        `${keys}:/keys`,
        '--workdir',
        '/keys',
        '--entrypoint',
        '/usr/bin/tor-gencert',
        image,
      ],
      ...['--create-identity-key', '-m', String(KEYS_MONTHS), '--passphrase-fd', '0'],
      ...['-a', `${addressOf(relay)}:${DIR_PORT}`],
    ],
    { input: `${randomBytes(16).toString('hex')}\n` },
  );
  const data = `${join(folder, 'data')}:/var/lib/tor`;
  const torrc = `${join(folder, 'torrc')}:/etc/tor/torrc:ro`;
  const printed = await engine.docker([
    ...[...tool, '--volume', data, '--volume', torrc, '--entrypoint', '/usr/bin/tor', image],
    // An authority that is its own and only one, for as long as it takes to print its fingerprint.
    ...['--list-fingerprint', '-f', '/etc/tor/torrc', '--TestingTorNetwork', '1', '--quiet'],
    ...['--DirAuthority', `only v3ident=${'0'.repeat(40)} 127.0.0.1:9 ${'0'.repeat(40)}`],
  ]);
  return authorityLine({
    name: `relay${relay}`,
    orPort: OR_PORT,
    directory: `${addressOf(relay)}:${DIR_PORT}`,
    printed,
    certificate: readFileSync(join(keys, 'authority_certificate'), 'utf8'),
  });
}

/**
 * How all others are told of an authority.
 *
 * @param authority `printed` is what `--list-fingerprint` prints, `certificate` what tor-gencert has written
 * @throws Error where one of the two is not what it should be
 */
export function authorityLine(authority: {
  readonly name: string;
  readonly orPort: number;
  readonly directory: string;
  readonly printed: string;
  readonly certificate: string;
}): string {
  const { name, orPort, directory, printed, certificate } = authority;
  const fingerprint = printed.trim().split('\n').at(-1)?.replace(/^\S+ /, '').replaceAll(' ', '') ?? '';
  const identity = /^fingerprint ([0-9A-F]{40})$/m.exec(certificate)?.[1];
  if (identity === undefined || !/^[0-9A-F]{40}$/.test(fingerprint)) {
    throw new Error(`tor made no keys for ${name}: it printed ${JSON.stringify(printed)}`);
  }
  return `DirAuthority ${name} orport=${orPort} v3ident=${identity} ${directory} ${fingerprint}`;
}
