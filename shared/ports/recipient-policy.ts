import type { TronAddress } from '../domain/tron-address.ts';

/**
 * The operator's word on who may be paid.
 *
 * Throws `ServiceError` `payments_stopped` where a list is configured and cannot be read: nobody is paid on a guess.
 */
export interface RecipientPolicy {
  judge(recipient: TronAddress): Promise<RecipientVerdict>;
}

export type RecipientVerdict = 'allowed' | 'not_on_the_allow_list' | 'on_the_deny_list';
