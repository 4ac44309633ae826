import type { TestContext } from 'vitest';

/** A tool that a test needs. Where it cannot be had, the test says so and is left out; in CI it fails. */
export async function orSkip<Tool>(context: TestContext, get: () => Promise<Tool>): Promise<Tool> {
  try {
    return await get();
  } catch (error) {
    if (process.env['CI']) throw error;
    return context.skip(error instanceof Error ? error.message : String(error));
  }
}
