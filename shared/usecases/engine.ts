import type { Clock } from '../ports/clock.ts';
import type { Ids } from '../ports/ids.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { PaymentNetwork, Signer } from '../ports/payment-network.ts';
import type { RecipientPolicy } from '../ports/recipient-policy.ts';
import type { StopSwitch } from '../ports/stop-switch.ts';
import type { Vault } from '../ports/vault.ts';
import type { PaymentRules } from './payment-rules.ts';

/** Everything that moving a payment on takes. `network` has the breaker around it. */
export interface Engine {
  readonly ledger: Ledger;
  readonly network: PaymentNetwork;
  readonly signer: Signer;
  readonly vault: Vault;
  readonly stopSwitch: StopSwitch;
  readonly recipients: RecipientPolicy;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly rules: PaymentRules;
}
