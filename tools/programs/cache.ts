import { access, constants, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';

/** The path if a program lies there that may be run. */
export async function ifRunnable(path: string): Promise<string | undefined> {
  return await access(path, constants.X_OK).then(
    () => path,
    () => undefined,
  );
}

/** The path of a program that PATH has. */
export async function programOnPath(name: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = folder === '' ? undefined : await ifRunnable(join(folder, name));
    if (path !== undefined) return path;
  }
  return undefined;
}

/** Makes a folder under another name first, so that it is whole whenever it is there; several processes may do so at once. */
export async function makeFolder(folder: string, make: (draft: string) => Promise<void>): Promise<string> {
  const isThere = () =>
    access(folder).then(
      () => true,
      () => false,
    );
  if (await isThere()) return folder;
  await mkdir(dirname(folder), { recursive: true });
  const draft = await mkdtemp(`${folder}.draft-`);
  try {
    await make(draft);
    await rename(draft, folder).catch(async (error: unknown) => {
      // Another process was faster: what it made is as good.
      if (!(await isThere())) throw error;
    });
    return folder;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}
