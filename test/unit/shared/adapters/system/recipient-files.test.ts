import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recipientFiles } from '../../../../../shared/adapters/system/recipient-files.ts';
import { CONTRACT, RECIPIENT, WALLET } from '../../../../support/test-engine.ts';

let folder: string;
const path = (name: string) => join(folder, name);
const write = (name: string, text: string) => {
  writeFileSync(path(`${name}.new`), text);
  renameSync(path(`${name}.new`), path(name));
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tpf-recipients-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the lists of recipients', () => {
  it('let everybody be paid where there are none', async () => {
    expect(await recipientFiles({ allow: null, deny: null }).judge(RECIPIENT)).toBe('allowed');
  });

  it('name who may be paid, and who never; the deny list wins', async () => {
    write('allow', `# partners\r\n${RECIPIENT} # the first\n\n  ${WALLET}\n`);
    write('deny', `${WALLET}\n`);
    const lists = recipientFiles({ allow: path('allow'), deny: path('deny') });
    expect(await lists.judge(RECIPIENT)).toBe('allowed');
    expect(await lists.judge(CONTRACT)).toBe('not_on_the_allow_list');
    expect(await lists.judge(WALLET)).toBe('on_the_deny_list');
  });

  it('are read again once they have changed', async () => {
    write('deny', '');
    const lists = recipientFiles({ allow: null, deny: path('deny') });
    expect(await lists.judge(RECIPIENT)).toBe('allowed');
    write('deny', `${RECIPIENT}\n`);
    expect(await lists.judge(RECIPIENT)).toBe('on_the_deny_list');
  });

  it.each([
    ['is missing', null, 'RECIPIENT_ALLOW_FILE cannot be read'],
    ['has a line that is no address', `${RECIPIENT}\nTfoo\n`, 'in line 2'],
  ])('stop payments where one %s, without naming its path', async (_, text, words) => {
    if (text !== null) write('allow', text);
    const judged = recipientFiles({ allow: path('allow'), deny: null }).judge(RECIPIENT);
    await expect(judged).rejects.toMatchObject({ code: 'payments_stopped' });
    await expect(judged).rejects.toThrow(words);
    await expect(judged).rejects.not.toThrow(folder);
  });
});
