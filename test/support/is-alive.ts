import { readFileSync } from 'node:fs';

/** A process that has ended but that its parent has not asked about yet (a zombie) is not alive. */
export function isAlive(pid: number | undefined): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}
