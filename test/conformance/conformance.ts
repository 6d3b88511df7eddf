import { randomBytes } from 'node:crypto';
import { TronWeb } from 'tronweb';
import { NOT_COVERED } from './not-covered.ts';
import { readRecording } from './recording.ts';
import {
  playConstantCalls,
  playDeployment,
  playOtherCalls,
  playStaking,
  playTokenTransfers,
} from './situations-contracts.ts';
import { playAccounts, playReading } from './situations-reading.ts';
import { playBandwidth, playRefusals, playTransfer } from './situations-transfers.ts';
import { type Actor, Stage } from './stage.ts';

/** One line of the result. */
export type Verdict =
  | { readonly name: string; readonly outcome: 'passed' }
  | { readonly name: string; readonly outcome: 'failed'; readonly differences: readonly string[] }
  | { readonly name: string; readonly outcome: 'not covered'; readonly reason: string };

export type ConformanceOptions = {
  /** The node's HTTP address. */
  readonly url: string;
  /**
   * Keys of `alice`, `bob` and `carol`, accounts of the genesis block that have never acted; without them the
   * payer makes three new ones.
   */
  readonly genesisKeys?: readonly [alice: string, bob: string, carol: string];
  /** Key of an account with at least 12,000 TRX that pays for the new ones. */
  readonly payerKey?: string;
};

/** What the new accounts get, in sun: staking alone takes 6,000 TRX. */
const FUNDS_SUN = { alice: 8_000_000_000, bob: 1_000_000_000, carol: 1_000_000_000 } as const;

/** Recorded addresses of the parts, 20 bytes in hex. */
const PARTS = {
  alice: 'cf703cc905054463a9e31a6f36d20845ef8bf8be',
  bob: '1c115bd3f3383083ff6db6ff51157590e254c2f0',
  carol: 'a3adf3ce0fc5c3710bed64cbc0dd5faea1b22c6f',
  witness: '0df3898d3123521a5e78cc9b1cee2ed7db2aa0cc',
  ownerAbsent: '26e04af93ca7c16f774325f24fc3ebb0dff9e035',
  activated: '44653313636dec4ac5058dc442e91a137f76de71',
  poor: '64ab4376721ba41706eabebdca92d0181314a76c',
  callerAbsent: '11d6af0689af2fe92ecfcbca7267afc384376db1',
  recipientAbsent: 'e24159d086b8b02bc2f3933261d9e06e53edc42e',
  low: 'dd96209fbd6dfff6635492af72bdb2cfc9e39d46',
  forwardNew: 'cdcf2103588d896adb009063305f4fc3056744de',
  nobody: '22a84c25768294c526640645d9b2ff6a40e6e213',
} as const;

/** Plays the recorded situations on a node and compares case by case. @throws Error when the play cannot go on. */
export async function runConformance(options: ConformanceOptions): Promise<readonly Verdict[]> {
  const recording = readRecording();
  const stage = new Stage(options.url, recording, options.genesisKeys !== undefined);
  const [alice, bob, carol] = await findActors(stage, options);
  const cast = (part: keyof typeof PARTS, actor = newActor()): Actor => {
    stage.cast(PARTS[part], actor.addressHex);
    return actor;
  };
  cast('alice', alice);
  cast('bob', bob);
  cast('carol', carol);
  const witnessHex = await findWitness(stage);
  stage.cast(PARTS.witness, witnessHex);
  const ownerAbsent = cast('ownerAbsent');

  await playReading(stage);
  await playAccounts(stage, alice, ownerAbsent, witnessHex);
  await playTransfer(stage, alice, bob);
  await playRefusals(stage, alice, bob, ownerAbsent);
  await playBandwidth(stage, alice, bob, carol, cast('activated'), cast('poor'));
  const token = await playDeployment(stage, alice, bob);
  await playConstantCalls(stage, token, alice, bob, cast('callerAbsent'));
  const low = cast('low');
  await playTokenTransfers(stage, token, { alice, bob, carol, absent: cast('recipientAbsent'), low });
  await playOtherCalls(stage, token, {
    alice,
    bob,
    carol,
    fresh: cast('forwardNew'),
    nobody: cast('nobody'),
  });
  await playStaking(stage, token, alice, bob, carol);

  const results = new Map(stage.results.map((result) => [result.name, result]));
  return recording.map(({ name }): Verdict => {
    const result = results.get(name);
    const reason = NOT_COVERED[name];
    if (result === undefined) {
      return reason === undefined
        ? { name, outcome: 'failed', differences: ['was not played, and no reason is given'] }
        : { name, outcome: 'not covered', reason };
    }
    return result.differences.length === 0
      ? { name, outcome: 'passed' }
      : { name, outcome: 'failed', differences: result.differences };
  });
}

async function findActors(
  stage: Stage,
  options: ConformanceOptions,
): Promise<readonly [Actor, Actor, Actor]> {
  if (options.genesisKeys !== undefined) {
    const [alice, bob, carol] = options.genesisKeys;
    return [actorOf(alice), actorOf(bob), actorOf(carol)];
  }
  if (options.payerKey === undefined)
    throw new Error('a node needs a key that pays for the accounts of the play');
  const payer = actorOf(options.payerKey);
  const actors = [newActor(), newActor(), newActor()] as const;
  const amounts = [FUNDS_SUN.alice, FUNDS_SUN.bob, FUNDS_SUN.carol];
  for (const [i, actor] of actors.entries()) {
    await stage.include(stage.sign(await stage.transfer(payer, actor.addressHex, amounts[i] ?? 0), payer));
  }
  return actors;
}

async function findWitness(stage: Stage): Promise<string> {
  const { answer } = await stage.post('/wallet/getnowblock', {});
  const block = answer as { block_header: { raw_data: { witness_address: string } } };
  return block.block_header.raw_data.witness_address;
}

function newActor(): Actor {
  return actorOf(randomBytes(32).toString('hex'));
}

function actorOf(privateKey: string): Actor {
  const address = TronWeb.address.fromPrivateKey(privateKey);
  if (address === false) throw new Error('that is no private key');
  return { address, addressHex: TronWeb.address.toHex(address).toLowerCase(), privateKey };
}
