import type { Scene } from './scene.ts';

/** One promise, shown on a running cluster. Its file reads as documentation. */
export interface Case {
  readonly number: number;
  /** A sentence. */
  readonly promise: string;
  /** Runs in every CI run; the others with --all. */
  readonly core: boolean;
  /** For cases that are about time: runs after all others, with nothing beside it. */
  readonly alone?: boolean;
  run(scene: Scene): Promise<void>;
}
