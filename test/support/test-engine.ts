import { parseTronAddress, type TronAddress } from '../../shared/domain/tron-address.ts';
import type { PaymentNetwork } from '../../shared/ports/payment-network.ts';
import type { RecipientVerdict } from '../../shared/ports/recipient-policy.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import { withBreaker } from '../../shared/usecases/payment-network-with-breaker.ts';
import type { PaymentRules } from '../../shared/usecases/payment-rules.ts';
import { atEachCall } from './each-call.ts';
import { memoryLedger } from './memory-ledger.ts';
import { Crash, SimulatedChain } from './simulated-chain.ts';

/** Addresses for tests; nobody holds their keys here. */
export const WALLET = address('TUt3LAMZymzTEiGVCMyHgPCtvq8Wo8Vy1D');
export const RECIPIENT = address('TDaDHQxnFPamQVVeptVogMJzoacHDpMXSo');
export const CONTRACT = address('TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t');

export const START_MS = Date.UTC(2026, 0, 1);

export const RULES: PaymentRules = {
  limits: {
    USDT: { hourlyMicro: 1_000_000_000n, dailyMicro: 10_000_000_000n },
    TRX: { hourlyMicro: 1_000_000_000n, dailyMicro: 10_000_000_000n },
  },
  windows: { hourMs: 3_600_000, dayMs: 86_400_000 },
  feeLimitDailyMicro: 10_000_000_000n,
  feeReserveMicro: 12_000_000n,
  amounts: { maxMicro: { USDT: null, TRX: null }, approvalAboveMicro: { USDT: null, TRX: null } },
  circuit: { failureThreshold: 5, recoveryTimeoutMs: 300_000, halfOpenMaxCalls: 3, permitMs: 60_000 },
  contract: CONTRACT,
  confirmationsRequired: 2,
  expirationMs: 60_000,
  expirationMarginMs: 5_000,
  payByMs: 600_000,
  approveByMs: 86_400_000,
  recheckMs: 60_000,
  leaseMs: 35_000,
  revisitMs: 3_000,
  rebroadcastMs: 15_000,
  auditIntervalMs: 5_000,
  headSkewMsMax: 300_000,
};

/** A world in memory: a store, a chain, and a clock that only moves when told. */
export class World {
  nowMs = START_MS;
  readonly ledger = memoryLedger(() => this.nowMs);
  readonly chain = new SimulatedChain(WALLET, CONTRACT, START_MS);
  /** How the chain is reached. */
  network: PaymentNetwork = this.chain.network;
  readonly rules: PaymentRules;
  isStopped = false;
  verdict: RecipientVerdict = 'allowed';
  #lastId = 0;
  #lastRandom = 1;

  constructor(rules: Partial<PaymentRules> = {}) {
    this.rules = { ...RULES, ...rules };
  }

  /** The same numbers in every run (a linear congruence of Park and Miller). */
  #random(): number {
    this.#lastRandom = (this.#lastRandom * 48_271) % 0x7fff_ffff;
    return this.#lastRandom / 0x7fff_ffff;
  }

  /** Lets seconds pass, a block each. */
  pass(seconds: number): void {
    for (let second = 0; second < seconds; second += 1) {
      this.nowMs += 1_000;
      this.chain.produceBlock(this.nowMs);
    }
  }

  /**
   * An engine on this world.
   * @param crashAt dies at this port call, counted from 1: an odd number just before the call has its effect,
   *   an even one just after; undefined never
   */
  engine(crashAt?: number): Engine & { readonly calls: () => number } {
    let calls = 0;
    let isDead = false;
    const step = () => {
      calls += 1;
      // Once dead, nothing that is still under way may have a further effect.
      isDead ||= calls === crashAt;
      if (isDead) throw new Crash();
    };
    const mortal = atEachCall(step, step);
    const ledger = mortal(this.ledger);
    const clock = { nowMs: () => this.nowMs, sleep: async () => {} };
    const ids = { next: () => `id-${String(++this.#lastId).padStart(6, '0')}`, random: () => this.#random() };
    return {
      ledger,
      network: withBreaker(mortal(this.network), ledger, ids, clock, this.rules),
      signer: this.chain.signer,
      vault: { seal: (bytes) => bytes, open: (bytes) => bytes },
      recipients: { judge: async () => this.verdict },
      stopSwitch: { isSet: async () => this.isStopped },
      clock,
      ids,
      rules: this.rules,
      calls: () => calls,
    };
  }
}

/** The same engine with ids of the form that production makes: routes look at it. */
export function withUuids(engine: Engine): Engine {
  let last = 0;
  const next = () => `00000000-0000-7000-8000-${String(++last).padStart(12, '0')}`;
  return { ...engine, ids: { ...engine.ids, next } };
}

export function address(text: string): TronAddress {
  const parsed = parseTronAddress(text);
  if (parsed === undefined) throw new TypeError(`no address: ${text}`);
  return parsed;
}
