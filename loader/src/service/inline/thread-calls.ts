/** Functions that `BackgroundCalls` can call, by name. Arguments and results are plain values; each is imported when it is first called. */
export const threadCalls: Readonly<Record<string, (argument: unknown, signal: AbortSignal) => Promise<unknown>>> = {};
