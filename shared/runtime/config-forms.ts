import { isAbsolute } from 'node:path';
import { AMOUNT_MICRO_MAX, formatAmount, parseAmount } from '../domain/money.ts';
import { parseTronAddress, type TronAddress } from '../domain/tron-address.ts';

/** How one setting is written: what it must look like, in words, and how it is read. */
export interface Form<T> {
  /** Completes "it needs …". */
  readonly needs: string;
  /** @returns undefined where the text is malformed. */
  read(text: string): T | undefined;
}

/** One of a few words, spelt exactly. */
export function oneOf<const T extends string>(...words: readonly T[]): Form<T> {
  return {
    needs: words.length === 1 ? `the value ${words[0]}` : `one of ${words.join(', ')}`,
    read: (text) => words.find((word) => word === text),
  };
}

/** Log levels as the deployment document spells them, beside the names that Node programs use. */
export const logLevel: Form<'debug' | 'info' | 'warn' | 'error' | 'fatal'> = {
  needs: 'one of DEBUG, INFO, WARNING, ERROR, CRITICAL',
  read(text) {
    const level = text.toLowerCase();
    if (level === 'warning') return 'warn';
    if (level === 'critical') return 'fatal';
    return (['debug', 'info', 'warn', 'error', 'fatal'] as const).find((known) => known === level);
  },
};

export const flag: Form<boolean> = {
  needs: 'true or false',
  read: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
};

/** A whole number, both ends included. */
export function integer(min: number, max: number, unit = ''): Form<number> {
  return {
    needs: `a whole number${unit === '' ? '' : ` of ${unit}`} from ${min} to ${max}`,
    read(text) {
      if (!/^\d{1,15}$/.test(text)) return undefined;
      const value = Number(text);
      return value >= min && value <= max ? value : undefined;
    },
  };
}

/** A time span written in whole seconds and read as milliseconds. */
export function seconds(min: number, max: number): Form<number> {
  const whole = integer(min, max, 'seconds');
  return {
    needs: whole.needs,
    read(text) {
      const value = whole.read(text);
      return value === undefined ? undefined : value * 1000;
    },
  };
}

/** An amount of an asset as a decimal string, read as micro units. */
export function amount(asset: string, maxMicro = AMOUNT_MICRO_MAX): Form<bigint> {
  return {
    needs: `an amount of ${asset} as a decimal string with at most 6 decimals, up to ${formatAmount(maxMicro)}`,
    read(text) {
      // Zero is no payment, but it is a limit: nothing may be paid.
      if (/^0(?:\.0{1,6})?$/.test(text)) return 0n;
      const parsed = parseAmount(text);
      return 'amountMicro' in parsed && parsed.amountMicro <= maxMicro ? parsed.amountMicro : undefined;
    },
  };
}

export const address: Form<TronAddress> = {
  needs: 'a TRON address in base58, beginning with T',
  read: parseTronAddress,
};

export const blockId: Form<string> = {
  needs: 'a block id of 64 lower-case hex characters',
  read: (text) => (/^[0-9a-f]{64}$/.test(text) ? text : undefined),
};

/** A name that is safe in logs, tokens, database names and metrics. */
export const name: Form<string> = {
  needs: 'a name of letters, digits, dots, hyphens and underscores, at most 63 characters',
  read: (text) => (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text) ? text : undefined),
};

export const path: Form<string> = {
  needs: 'an absolute path',
  read: (text) => (isAbsolute(text) && !text.includes('\0') ? text : undefined),
};

/** A list of absolute paths, separated by commas. */
export const paths: Form<readonly string[]> = {
  needs: 'a comma-separated list of absolute paths',
  read(text) {
    const list = text.split(',').map((entry) => path.read(entry.trim()));
    return list.every((entry) => entry !== undefined) ? list : undefined;
  },
};

/** An HTTP base address without credentials, query or fragment; read without its trailing slash. */
export const httpUrl: Form<string> = {
  needs: 'an http:// or https:// address without user name, password, query or fragment',
  read(text) {
    const url = parseUrl(text);
    if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined;
    if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return undefined;
    return url.href.replace(/\/+$/, '');
  },
};

/** A list of HTTP addresses, separated by commas. */
export const httpUrls: Form<readonly string[]> = {
  needs: 'a comma-separated list, each entry an http:// or https:// address without user name or password',
  read(text) {
    const urls = text.split(',').map((entry) => httpUrl.read(entry.trim()));
    return urls.every((url) => url !== undefined) ? urls : undefined;
  },
};

/** Where a SOCKS proxy listens. */
export interface ProxyAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * `socks5://` is accepted because the deployment document writes it, and means what `socks5h://` says: names
 * are always resolved at the proxy, for a name that is looked up here would tell the network whom we call.
 */
export const socksProxy: Form<ProxyAddress> = {
  needs: 'socks5://HOST:PORT or socks5h://HOST:PORT, without user name or password',
  read(text) {
    const url = parseUrl(text);
    if (url === undefined || (url.protocol !== 'socks5:' && url.protocol !== 'socks5h:')) return undefined;
    if (url.username !== '' || url.password !== '' || url.hostname === '' || url.port === '')
      return undefined;
    if ((url.pathname !== '' && url.pathname !== '/') || url.search !== '' || url.hash !== '')
      return undefined;
    return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) };
  },
};

// What the service itself decides, because money depends on it (the first four), and a driver option that is
// known to mix up pooled connections (the last).
const MONGO_OPTIONS_REFUSED = /[?&](?:w|journal|readConcernLevel|readPreference|timeoutMS)=/i;

export const mongoUrl: Form<string> = {
  needs:
    'a mongodb:// or mongodb+srv:// address without user name and password (they have keys of their own) ' +
    'and without the options w, journal, readConcernLevel, readPreference and timeoutMS',
  read(text) {
    if (!/^mongodb(?:\+srv)?:\/\/[^/?@\s]+(?:[/?][^@\s]*)?$/.test(text)) return undefined;
    return MONGO_OPTIONS_REFUSED.test(text) ? undefined : text;
  },
};

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
