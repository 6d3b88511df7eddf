import { join } from 'node:path';
import type { PaymentView } from '../../functions/pay/schema.ts';
import { authorize, type StackAccess } from '../cli/running-stack.ts';
import { sidecarUrls } from './containers.ts';
import type { Planes } from './planes.ts';

/** What lets this machine in at the door, with the secrets of everybody who may call. */
export async function accessOf(planes: Planes): Promise<StackAccess> {
  const { functionUrl } = await sidecarUrls(planes);
  const secret = (name: string) => join(planes.folders.secrets, name);
  return {
    url: functionUrl,
    audience: 'tron-payment-service',
    callerSecretFiles: {
      gateway: secret('internal_auth_secret'),
      operator: secret('operator_secret'),
      approver: secret('approver_secret'),
    },
  };
}

/** All payments of all callers, the newest first. @throws Error where the service does not show them */
export async function listPayments(planes: Planes): Promise<readonly PaymentView[]> {
  const access = await accessOf(planes);
  const payments: PaymentView[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const path = `/pay?limit=200${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
    const token = await authorize(access, { method: 'GET', path }, { caller: 'operator' });
    const response = await fetch(`${access.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
    if (!response.ok) throw new Error(`payments are not shown: ${response.status} ${await response.text()}`);
    const page = (await response.json()) as {
      readonly payments: readonly PaymentView[];
      readonly next_cursor: string | null;
    };
    payments.push(...page.payments);
    cursor = page.next_cursor;
  }
  return payments;
}
