import type { Db } from 'mongodb';
import { connectMongo } from '../adapters/mongo/connect.ts';
import { mongoLedger } from '../adapters/mongo/mongo-ledger.ts';
import { mongoPaymentSearch } from '../adapters/mongo/payment-search.ts';
import { aesVault } from '../adapters/system/aes-vault.ts';
import { recipientFiles } from '../adapters/system/recipient-files.ts';
import { stopFile } from '../adapters/system/stop-file.ts';
import { systemClock } from '../adapters/system/system-clock.ts';
import { uniqueIds } from '../adapters/system/unique-ids.ts';
import { withCallDeadline } from '../adapters/tron/call-deadline.ts';
import { composeNodes } from '../adapters/tron/compose-nodes.ts';
import type { NodeClient } from '../adapters/tron/node-client.ts';
import { tronNetwork } from '../adapters/tron/tron-network.ts';
import { addressOfKey, tronSigner } from '../adapters/tron/tron-signer.ts';
import type { PaymentSearch } from '../ports/payment-search.ts';
import type { RotatingVault } from '../ports/vault.ts';
import type { Config, ConfigWith } from '../runtime/config.ts';
import { ConfigError } from '../runtime/config-error.ts';
import type { EncryptionKeys } from '../runtime/config-secrets.ts';
import type { Engine } from '../usecases/engine.ts';
import { withBreaker } from '../usecases/payment-network-with-breaker.ts';
import type { PaymentRules } from '../usecases/payment-rules.ts';

/** What an invocation may still need after the network has taken all of its time. */
const LEASE_SPARE_MS = 5_000;
const REBROADCAST_MS_MAX = 15_000;
const HEAD_SKEW_MS_MAX = 5 * 60_000;

/** Stands around a port and shares its type: tracing, counting, or dying at the seventh call in a test. */
export type PortWrapper = <T extends object>(port: T) => T;

/** What an engine talks to; the benchmarks watch what goes over it. */
export interface Connections {
  readonly db: Db;
  readonly nodes: readonly NodeClient[];
}

/**
 * The configured database and nodes. Nothing is dialled yet.
 * @param purpose whose circuits through Tor the nodes are asked on, see `Dialer.wayTo`
 */
export function openConnections(config: Config, purpose: 'pay' | 'settle' = 'pay'): Connections {
  return { db: connectMongo(config.mongo).db, nodes: composeNodes(config, purpose) };
}

/**
 * Everything that settles, put together from the configuration. Nothing is dialled yet.
 * @param wrap put around the ledger and the network, which make every call that leaves the process
 * @throws ConfigError where the private key is not the wallet's
 */
export function composeEngine(config: ConfigWith<'walletKey' | 'encryptionKey'>, wrap?: PortWrapper): Engine {
  return composePayments(config, wrap, openConnections(config, 'settle')).engine;
}

/** The same to pay with, and the search for payments beside it, on the same connections to the database. */
export function composePayments(
  config: ConfigWith<'walletKey' | 'encryptionKey'>,
  wrap: PortWrapper = (port) => port,
  { db, nodes }: Connections = openConnections(config),
): { readonly engine: Engine; readonly search: PaymentSearch } {
  const { tron, secrets } = config;
  if (addressOfKey(secrets.walletKey.reveal()) !== tron.walletAddress) {
    throw new ConfigError([
      {
        key: 'TRON_PRIVATE_KEY_FILE',
        problem: 'holds the key of another wallet',
        needs: `the key of TRON_WALLET_ADDRESS, ${tron.walletAddress}`,
      },
    ]);
  }
  const rules = paymentRules(config);
  const ledger = wrap(mongoLedger(db));
  const network = wrap(
    withCallDeadline(
      tronNetwork({
        nodes,
        genesisBlockId: tron.genesisBlockId,
        feeLimitMaxMicro: tron.feeLimitMaxMicro,
        clock: systemClock,
      }),
      tron.timeoutMs,
    ),
  );
  const engine: Engine = {
    ledger,
    network: withBreaker(network, ledger, uniqueIds, systemClock, rules),
    signer: tronSigner(tron.walletAddress, () => secrets.walletKey.reveal()),
    vault: composeVault(secrets.encryptionKey),
    stopSwitch: stopFile(config.payments.stopFile),
    recipients: recipientFiles(config.payments.recipients),
    clock: systemClock,
    ids: uniqueIds,
    rules,
  };
  return { engine, search: mongoPaymentSearch(db) };
}

/** What seals and opens signed transactions. */
export function composeVault({ current, others }: EncryptionKeys): RotatingVault {
  return aesVault(
    () => current.reveal(),
    others.map((other) => () => other.reveal()),
  );
}

function paymentRules(config: Config): PaymentRules {
  const { tron, payments } = config;
  return {
    limits: config.limits,
    windows: config.windows,
    feeLimitDailyMicro: config.feeLimitDailyMicro,
    feeReserveMicro: tron.feeReserveMicro,
    amounts: payments.amounts,
    approveByMs: payments.approveByMs,
    recheckMs: payments.recheckMs,
    circuit: config.circuit,
    contract: tron.usdtContract,
    confirmationsRequired: tron.confirmationsRequired,
    expirationMs: tron.expirationMs,
    expirationMarginMs: tron.expirationMarginMs,
    payByMs: payments.payByMs,
    leaseMs: tron.timeoutMs + LEASE_SPARE_MS,
    revisitMs: payments.revisitMs,
    // Several times within an attempt's life, even a short one.
    rebroadcastMs: Math.min(REBROADCAST_MS_MAX, tron.expirationMs / 4),
    auditIntervalMs: payments.auditIntervalMs,
    headSkewMsMax: HEAD_SKEW_MS_MAX,
  };
}
