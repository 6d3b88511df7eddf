import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSettings } from '../../../../deploy/planes/settings.ts';
import { productionFolders } from '../../../../deploy/planes/state.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'settings-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('what an operator has set', () => {
  it('stands in the environment or in .env, and the environment wins', () => {
    writeFileSync(
      join(folder, '.env'),
      '# of this machine\nTRON_WALLET_ADDRESS=TfromFile\nLUCID_VERSION="0.2.0"\nLUCID_DATA=/srv/data\n',
    );
    const settings = readSettings(folder, { LUCID_VERSION: '0.3.0' });
    expect(settings).toEqual({
      TRON_WALLET_ADDRESS: 'TfromFile',
      LUCID_VERSION: '0.3.0',
      LUCID_DATA: '/srv/data',
    });
    expect(productionFolders(settings).data).toBe('/srv/data');
  });

  it('is the environment alone where there is no such file', () => {
    expect(readSettings(folder, { LUCID_VERSION: '0.3.0' })).toEqual({ LUCID_VERSION: '0.3.0' });
  });
});
