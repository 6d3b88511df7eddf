import { describe, expect, test } from 'vitest';
import { FileTree, NONROOT } from '../../../../build/images/file-tree.ts';
import { checkImage, topFolders } from '../../../../build/images/rules.ts';
import { makeLibrary } from '../../../support/elf-file.ts';

describe('an image is refused with', () => {
  test.each([
    ['/var/task/handler.mjs.map', 'source map'],
    ['/app/main.ts', 'source'],
    ['/bin/sh', 'shell'],
    ['/usr/bin/bash', 'shell'],
    ['/usr/local/bin/busybox', 'shell'],
    ['/usr/bin/dpkg', 'package manager'],
    ['/usr/bin/apt-get', 'package manager'],
    ['/nodejs/bin/npm', 'package manager'],
    ['/usr/bin/perl', 'breaks in'],
    ['/usr/bin/ls', 'not asked for'],
    ['/usr/sbin/nologin', 'not asked for'],
    ['/app/test/fake.mjs', 'for development'],
    ['/app/node_modules/x/index.js', 'for development'],
    ['/run/secrets/tron_private_key', 'name of a secret'],
    ['/app/configs/internal_auth_secret', 'name of a secret'],
    ['/etc/ssl/private/server.key', 'name of a secret'],
    ['/app/.env', 'name of a secret'],
  ])('%s', (path, why) => {
    const faults = checkImage(new FileTree().addFile(path, ''), []);

    expect(faults.join('\n')).toContain(why);
  });

  test('a file that a service could change', () => {
    const open = new FileTree().addFile('/app/a.mjs', '', 0o666);
    const own = new FileTree().add('/app/a.mjs', {
      type: 'file',
      mode: 0o644,
      owner: NONROOT,
      content: Buffer.alloc(0),
    });

    expect(checkImage(open, [])).toEqual(['/app/a.mjs can be written by others (666)']);
    expect(checkImage(own, [])).toEqual(['/app/a.mjs belongs to 65532:65532']);
  });

  test('a set-user-id bit', () => {
    expect(checkImage(new FileTree().addFile('/app/a', '', 0o4755), [])).toEqual([
      '/app/a has the mode 4755',
    ]);
  });

  test('a link that leads nowhere, and a library whose library is missing', () => {
    const tree = new FileTree()
      .addLink('/etc/localtime', '/usr/share/zoneinfo/UTC')
      .addFile('/usr/lib/liba.so', makeLibrary(['libb.so']));

    expect(checkImage(tree, [])).toEqual([
      '/etc/localtime leads to /usr/share/zoneinfo/UTC, which is not there',
      '/usr/lib/liba.so needs libb.so, which is not in the image',
    ]);
  });

  test('a folder for data that belongs to root, for the service could not write to it', () => {
    expect(checkImage(new FileTree().addFolder('/data'), ['/data'])).toEqual(['/data belongs to 0:0']);
  });
});

test('an image of plain files of root, a temporary folder and a data folder of the service passes', () => {
  const tree = new FileTree()
    .addFile('/app/sidecar.mjs', '')
    .addFile('/usr/bin/tor', makeLibrary([]), 0o755)
    .addLink('/lib', 'usr/lib')
    .addFolder('/usr/lib')
    .addFolder('/tmp', 0o1777)
    .addFolder('/data', 0o700, NONROOT);

  expect(checkImage(tree, ['/data'])).toEqual([]);
  expect(topFolders(tree)).toEqual(['/app', '/data', '/lib', '/tmp', '/usr']);
});
