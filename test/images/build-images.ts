import { buildImage, imageNames } from './docker.ts';

/** Builds the three images before the first test; where that is not possible, everything fails rather than being left out. */
export default async function setup(): Promise<void> {
  for (const image of imageNames) {
    const startedMs = performance.now();
    await buildImage(image);
    console.log(`built ${image} in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  }
}
