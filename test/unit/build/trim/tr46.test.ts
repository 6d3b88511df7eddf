import { createRequire } from 'node:module';
import { MongoClient } from 'mongodb';
import { describe, expect, it } from 'vitest';
import { toASCII } from '../../../../build/trim/tr46.ts';

/** The package that the bundles do without; the MongoDB driver still brings it here. */
const original = createRequire(import.meta.url)('tr46') as {
  toASCII(domain: string, options: Record<string, boolean>): string | null;
};

/** As whatwg-url, the only caller, asks. */
const asWhatwgUrlAsks = {
  checkHyphens: false,
  checkBidi: true,
  checkJoiners: true,
  useSTD3ASCIIRules: false,
  transitionalProcessing: false,
  verifyDNSLength: false,
  ignoreInvalidPunycode: false,
};

describe('what stands for tr46 in the bundles', () => {
  it.each([
    'mongo',
    'MONGO.Internal',
    'mongo-1.lucid_payments.example',
    'cluster0.ab1cd.mongodb.net',
    '127.0.0.1',
    'bücher.example',
    'БАЗА.example',
    'faß.de',
    'xn--bcher-kva.example',
    'a.b.c.d.e.f',
    'ab--cd.example',
    '日本語。jp',
    '\u00ad',
  ])('gives the ASCII form of %j that tr46 gives', (domain) => {
    expect(toASCII(domain)).toBe(original.toASCII(domain, asWhatwgUrlAsks) || null);
  });

  it('is for host names alone: the driver reads every other part of a connection string by itself', () => {
    const { options } = new MongoClient('mongodb://us%40er:p%3Aw@Mongo-A:27018,127.0.0.1/pay?replicaSet=rs0');
    expect(options.hosts.map(String)).toEqual(['mongo-a:27018', '127.0.0.1:27017']);
    expect(options.credentials).toMatchObject({ username: 'us@er', password: 'p:w' });
  });
});
