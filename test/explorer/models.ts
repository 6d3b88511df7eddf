import { TICK_MS } from './chain.ts';
import type { Actor, Model } from './model.ts';
import { cancel, order, pay, payAll, rule, ruleHastily, settleOnce, visit } from './programs.ts';

const actor = (name: string, ...runs: Actor['runs']): Actor => ({ name, runs });
/** One attempt, and a second one after it. */
const TWO_ATTEMPTS = { payByMs: 2 * TICK_MS };

const LIMIT_100 = {
  USDT: { hourlyMicro: 0n, dailyMicro: 0n },
  TRX: { hourlyMicro: 100n, dailyMicro: 100n },
};

/** The small worlds that are searched; together they hold every step that touches two documents. */
export const MODELS: readonly Model[] = [
  {
    name: 'pay-and-settle',
    about: 'a caller, and a whole run of settle, at one new payment',
    actors: [actor('P', pay('a', 60n)), actor('S', settleOnce())],
    ticks: 1,
  },
  {
    name: 'pay-and-visit',
    about: 'the same with a lost acknowledgement',
    actors: [actor('P', pay('a', 60n)), actor('V', visit('a'))],
    ticks: 1,
    faults: { losses: 1 },
  },
  {
    name: 'two-visits',
    about: 'two settlers at a reserved payment, which may revert',
    before: [pay('a', 60n, true)],
    actors: [actor('V', visit('a')), actor('W', visit('a'))],
    ticks: 1,
    faults: { reverts: 1 },
    inTests: true,
  },
  {
    name: 'two-attempts',
    about: 'two settlers, a lost attempt and another one',
    rules: TWO_ATTEMPTS,
    before: [pay('a', 60n)],
    actors: [actor('V', visit('a'), visit('a')), actor('W', visit('a'))],
    ticks: 2,
  },
  {
    name: 'late-expiry',
    about: 'one settler takes the payment for expired while another one signs its second attempt',
    rules: TWO_ATTEMPTS,
    before: [pay('a', 60n)],
    startTick: 1,
    actors: [actor('V', visit('a')), actor('W', visit('a'), visit('a'))],
    ticks: 2,
  },
  {
    name: 'cancel',
    about: 'a caller, a settler, and the caller who takes it back',
    before: [pay('a', 60n, true)],
    actors: [actor('V', visit('a')), actor('C', cancel('a'))],
    ticks: 1,
    faults: { losses: 1 },
  },
  {
    name: 'cancel-at-once',
    about: 'a payment is taken back while it is being made',
    actors: [actor('P', pay('a', 60n)), actor('C', cancel('a')), actor('V', visit('a'))],
    ticks: 0,
    inTests: true,
  },
  {
    name: 'cancel-while-reserving',
    about: 'a payment is taken back while it is being reserved, and a settler is at it',
    actors: [actor('P', pay('a', 60n, true)), actor('C', cancel('a')), actor('V', visit('a'))],
    ticks: 0,
  },
  {
    name: 'one-limit',
    about: 'two payments of which one fits',
    rules: { limits: LIMIT_100 },
    actors: [actor('P', pay('a', 60n)), actor('Q', pay('b', 50n))],
    ticks: 1,
  },
  {
    name: 'two-closings',
    about: 'two payments on their way, and a settler at each',
    before: [pay('a', 60n), pay('b', 50n)],
    actors: [actor('V', visit('a')), actor('W', visit('b'))],
    ticks: 0,
    inTests: true,
  },
  {
    name: 'settle-two',
    about: 'a run of settle that closes two payments together, and a settler at one of them',
    before: [pay('a', 60n), pay('b', 50n)],
    actors: [actor('S', settleOnce(2)), actor('V', visit('a'))],
    ticks: 0,
    statesMax: 200_000,
  },
  {
    name: 'retry',
    about: 'a refused payment is asked for again, while a settler is at it',
    actors: [actor('P', pay('a', 60n), pay('a', 60n)), actor('V', visit('a'))],
    ticks: 0,
    faults: { refusals: 1 },
    inTests: true,
  },
  {
    name: 'batch',
    about: 'two payments under one key, and a settler',
    actors: [actor('P', payAll('c', 40n, 30n)), actor('S', visit('c'))],
    ticks: 1,
    inTests: true,
  },
  {
    name: 'batch-lost',
    about: 'the same with a lost acknowledgement and another try',
    actors: [actor('P', payAll('c', 40n, 30n), payAll('c', 40n, 30n)), actor('V', visit('c'))],
    ticks: 0,
    faults: { losses: 1 },
  },
  {
    name: 'pause',
    about: 'payments are paused and resumed while one is made',
    actors: [actor('P', pay('a', 60n)), actor('O', order('pause', 'resume')), actor('V', visit('a'))],
    ticks: 0,
  },
  {
    name: 'slots',
    about: 'what was spent leaves the window, and is reserved again',
    rules: { limits: LIMIT_100, windows: { hourMs: TICK_MS, dayMs: 2 * TICK_MS } },
    before: [pay('a', 60n)],
    actors: [actor('V', visit('a')), actor('Q', pay('b', 60n))],
    ticks: 4,
  },
  {
    name: 'contradiction',
    about: 'nodes contradict themselves, and an operator rules',
    before: [pay('a', 60n)],
    actors: [actor('V', visit('a')), actor('W', visit('a')), actor('O', rule('a'))],
    ticks: 1,
    faults: { contradictions: 1 },
  },
  {
    name: 'hasty-ruling',
    about:
      'an operator rules by a look that was too early, and again once the last look has found the payment',
    before: [pay('a', 60n)],
    actors: [actor('V', visit('a'), visit('a')), actor('O', rule('a', ruleHastily), rule('a'))],
    ticks: 1,
    faults: { contradictions: 1 },
    endsWrongly: true,
  },
  {
    name: 'evidence-after-the-end',
    about: 'all nodes swear falsely twice; the last look finds the payment, and an operator rules',
    before: [pay('a', 60n)],
    actors: [actor('V', visit('a'), visit('a'), visit('a')), actor('O', rule('a'))],
    ticks: 2,
    faults: { lies: 2 },
    endsWrongly: true,
    inTests: true,
  },
  {
    name: 'chain-away',
    about: 'a payment is reserved while the chain is away, and settled',
    actors: [actor('P', pay('a', 60n)), actor('S', settleOnce())],
    ticks: 1,
    faults: { absences: 1 },
  },
];
