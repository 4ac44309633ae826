import type { ArchiveStore } from '../src/stores/store.ts';

export type Step = 'write' | 'seal' | 'hashes' | 'remove';

/** A store that calls `hook` before and after each of its steps that matter. */
export function hooked(
  store: ArchiveStore,
  hook: (step: Step, when: 'before' | 'after') => Promise<void>,
): ArchiveStore {
  return {
    kind: store.kind,
    name: store.name,
    describe: () => store.describe(),
    prepare: (...given) => store.prepare(...given),
    write: async (...given) => {
      await hook('write', 'before');
      const file = await store.write(...given);
      await hook('write', 'after');
      return file;
    },
    seal: async (...given) => {
      await hook('seal', 'before');
      await store.seal(...given);
      await hook('seal', 'after');
    },
    async *hashes(...given) {
      await hook('hashes', 'before');
      yield* store.hashes(...given);
      await hook('hashes', 'after');
    },
    ...(store.digest ? { digest: hookedDigest(store.digest.bind(store), hook) } : {}),
    rows: (...given) => store.rows(...given),
    manifest: (...given) => store.manifest(...given),
    batches: (...given) => store.batches(...given),
    remove: async (...given) => {
      await hook('remove', 'before');
      await store.remove(...given);
      await hook('remove', 'after');
    },
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

function hookedDigest(
  digest: NonNullable<ArchiveStore['digest']>,
  hook: (step: Step, when: 'before' | 'after') => Promise<void>,
): typeof digest {
  return async (...given) => {
    await hook('hashes', 'before');
    const found = await digest(...given);
    await hook('hashes', 'after');
    return found;
  };
}

/** Runs `act` once, at the n-th occurrence of a step. */
export function once(step: Step, when: 'before' | 'after', nth: number, act: () => Promise<unknown>) {
  let seen = 0;
  return (store: ArchiveStore) =>
    hooked(store, async (at, moment) => {
      if (at === step && moment === when && ++seen === nth) await act();
    });
}
