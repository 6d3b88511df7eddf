import { expect, test } from 'vitest';
import type { PackedLayer } from '../../../../build/images/archive.ts';
import { FileTree } from '../../../../build/images/file-tree.ts';
import { type BuiltImage, checkSizes, formatSizes } from '../../../../build/images/sizes.ts';

const MB = 1_000_000;

test('functions within the budget raise nothing, and other images have none', () => {
  const images = [image('pay', [130, 8]), image('settle', [130, 8]), image('mongo-stand-in', [500], false)];

  expect(checkSizes(images)).toEqual([]);
});

test('shared layers, a function and all functions each have a limit of their own', () => {
  expect(checkSizes([image('pay', [136, 1])])).toEqual([
    'the layers that pay shares weigh 136.0 MB, the budget is 135.0 MB',
  ]);
  expect(checkSizes([image('pay', [130, 9])])).toEqual(['pay adds 9.0 MB, the budget is 8.0 MB']);
  const four = ['pay', 'settle', 'health', 'stats'].map((name) => image(name, [135, 7]));
  expect(checkSizes(four)).toEqual(['the functions together weigh 163.0 MB, the budget is 160.0 MB']);
});

test('the table counts what is shared once', () => {
  expect(formatSizes([image('pay', [130, 5]), image('settle', [130, 6])])).toBe(
    [
      'image      layer         adds     in all',
      'pay        layer 0   130.0 MB',
      '           layer 1     5.0 MB   135.0 MB',
      'settle     layer 0     shared',
      '           layer 1     6.0 MB   136.0 MB',
      'together                        141.0 MB',
    ].join('\n'),
  );
});

/** The lowest layer is shared; sizes in MB. */
function image(name: string, sizes: readonly number[], isFunction = true): BuiltImage {
  const layers = sizes.map(
    (size, index): PackedLayer => ({
      layer: { title: `layer ${index}`, tree: new FileTree(), components: [] },
      archive: { length: size * MB } as Buffer,
      id: index === 0 && isFunction ? 'shared' : `${name} ${index}`,
    }),
  );
  return { name, layers, isFunction };
}
