import { defineConfig } from 'vitest/config';

const exclude = ['**/node_modules/**', '**/dist/**'];

export default defineConfig({
  test: {
    // Servers, programs and tests share the machine, and a test waits for about a third of its time: three workers keep two cores busy, and many more
    // would only make timeouts.
    maxWorkers: 3,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{common,migrator,loader,tools,examples,torture}/**/*.test.ts'],
          exclude: [...exclude, '**/*.db.test.ts', '**/*.chart.test.ts', '**/*.image.test.ts'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'chart',
          include: ['charts/test/*.chart.test.ts'],
          exclude,
          // The first test may have to fetch helm and its like.
          testTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'image',
          include: ['test/images/*.image.test.ts'],
          exclude,
          globalSetup: ['test/images/build-images.ts', 'test/start-servers.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'database',
          include: ['{common,migrator,loader,tools,examples,test}/**/*.db.test.ts'],
          exclude,
          globalSetup: ['test/find-bundles.ts', 'test/start-servers.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
