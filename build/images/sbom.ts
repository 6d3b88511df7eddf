/** An image's bill of materials in CycloneDX, as scanners read it. */
import type { Component } from './layer.ts';

export type Bill = {
  readonly image: string;
  readonly version: string;
  readonly reference: string;
  readonly createdAt: Date;
  readonly components: readonly Component[];
};

export function writeBill(bill: Bill): string {
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp: bill.createdAt.toISOString(),
      component: {
        type: 'container',
        'bom-ref': bill.reference,
        name: bill.image,
        version: bill.version,
      },
    },
    components: sortComponents(bill.components).map(({ name, version, purl, license, sha256 }) => ({
      type: 'library',
      'bom-ref': purl,
      name,
      version,
      purl,
      ...(sha256 && { hashes: [{ alg: 'SHA-256', content: sha256 }] }),
      ...(license && { licenses: [{ expression: license }] }),
    })),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** Two layers may bring the same. */
function sortComponents(components: readonly Component[]): Component[] {
  const byPurl = new Map(components.map((component) => [component.purl, component]));
  return [...byPurl.values()].sort((a, b) => (a.purl < b.purl ? -1 : 1));
}
