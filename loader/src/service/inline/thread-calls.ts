/** Functions that `BackgroundCalls` can call, by name. Arguments and results are plain values; each is imported when it is first called. */
export const threadCalls: Readonly<Record<string, (argument: unknown, signal: AbortSignal) => Promise<unknown>>> = {
  async archivePage(question, signal) {
    const { archivePage } = await import('../api/archive-page.ts');
    // The route of the same name asks, with just this.
    return await archivePage(question as Parameters<typeof archivePage>[0], signal);
  },
};
