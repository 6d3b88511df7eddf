import type { FileTree } from './file-tree.ts';

/** Something that others made and that is in an image; a line of its bill of materials. */
export type Component = {
  readonly name: string;
  readonly version: string;
  /** Package URL: says the kind of package, and by it where it comes from. */
  readonly purl: string;
  readonly license?: string;
  /** Of what was fetched, where that is one file. */
  readonly sha256?: string;
};

/** Some files that images share, or that one has for itself. */
export type Layer = {
  /** In one or two words, for tables and for the image's history. */
  readonly title: string;
  readonly tree: FileTree;
  readonly components: readonly Component[];
};
