import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';

/** A file as configuration sees it. */
export interface TextFile {
  readonly text: string;
  /** Whether every user of the machine may read it. */
  readonly worldReadable: boolean;
}

/** How configuration reaches files; a test hands in its own. */
export interface FileReader {
  /**
   * @returns null where there is no such file
   * @throws where it is there and cannot be read as a text of reasonable size
   */
  read(path: string): TextFile | null;
}

// Every file of ours is a few lines. Anything larger was named by mistake, a device or a database perhaps.
const FILE_BYTES_MAX = 65_536;
const OTHERS_MAY_READ = 0o004;

export const diskFiles: FileReader = {
  read(path) {
    let descriptor: number;
    try {
      descriptor = openSync(path, 'r');
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
    try {
      const status = fstatSync(descriptor);
      if (!status.isFile()) throw new Error('it is not a regular file');
      if (status.size > FILE_BYTES_MAX) throw new Error(`it is larger than ${FILE_BYTES_MAX} bytes`);
      return {
        text: readFileSync(descriptor, 'utf8'),
        worldReadable: (status.mode & OTHERS_MAY_READ) !== 0,
      };
    } finally {
      closeSync(descriptor);
    }
  },
};

/** Why a file could not be read, without its contents. */
export function explainReadFailure(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
    return error.code === 'EACCES' ? 'this process may not read it' : `reading it failed with ${error.code}`;
  }
  return error instanceof Error ? error.message : 'reading it failed';
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
