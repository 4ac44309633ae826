import { type ErrorCatalogue, errorFactory } from '@tableset/common/errors.ts';
import { exitCodes } from '@tableset/common/exit-codes.ts';

/** Codes of the service: of its answers over HTTP, and of how runs end there; docs/errors.md lists them. */
export const serviceErrors = {
  SERVICE_ADDRESS_IN_USE: {
    exit: exitCodes.usage,
    cause: 'The service cannot listen on its address and port.',
    remedy: 'Free the port, or choose another by HEALTH_SERVER_HOST and HEALTH_SERVER_PORT.',
  },
  SERVICE_RESTART_NEEDED: {
    exit: exitCodes.usage,
    cause: 'The configuration file names another database than the one the service started with.',
    remedy: 'Restart the service; until then it goes on with the configuration it has.',
  },
  SERVICE_UNAUTHENTICATED: {
    exit: exitCodes.usage,
    cause: 'The request has no token, or one that is wrong, expired or not meant for this service.',
    remedy: 'Get a token from /api/v1/auth/token and send it as Authorization: Bearer TOKEN.',
  },
  SERVICE_FORBIDDEN: {
    exit: exitCodes.usage,
    cause: 'The token has no role that allows this.',
    remedy: 'Ask whoever runs the service to give the client the role that the message names.',
  },
  SERVICE_NOT_FOUND: {
    exit: exitCodes.usage,
    cause: 'There is nothing at this path, or no such run or record.',
    remedy: 'Check the path and the id; GET /openapi.json lists the paths.',
  },
  SERVICE_REQUEST_INVALID: {
    exit: exitCodes.usage,
    cause: 'The body, the query or the path does not fit what the route takes.',
    remedy: 'Mend what the list of errors names; GET /openapi.json has the schemas.',
  },
  SERVICE_REQUEST_TOO_LARGE: {
    exit: exitCodes.usage,
    cause: 'The body is larger than any that a route takes.',
    remedy: 'Send less.',
  },
  SERVICE_MEDIA_TYPE: {
    exit: exitCodes.usage,
    cause: 'The body is of a type that the route does not take.',
    remedy: 'Send JSON with Content-Type: application/json.',
  },
  SERVICE_CONFLICT: {
    exit: exitCodes.refused,
    cause: 'The state of the run or record does not allow this now.',
    remedy: 'Read it again and decide anew.',
  },
  SERVICE_PRECONDITION_REQUIRED: {
    exit: exitCodes.usage,
    cause:
      'A record is changed or deleted without If-Match, so that a change somebody else made meanwhile would be lost.',
    remedy: 'Send If-Match with the ETag that GET gave; * says that any version will do.',
  },
  SERVICE_PRECONDITION_FAILED: {
    exit: exitCodes.refused,
    cause: 'The record is no longer the version that If-Match names: somebody else has changed it.',
    remedy: 'Read it again and decide anew.',
  },
  SERVICE_ENCRYPTION_OFF: {
    exit: exitCodes.usage,
    cause: 'A record has a password, and no key to store it with is set.',
    remedy:
      'Set ENCRYPTION_KEY_FILE, or leave the database out of the record where it is the one that the service works on.',
  },
  SERVICE_SECRET_UNREADABLE: {
    exit: exitCodes.refused,
    cause: 'A stored password cannot be deciphered: its key is missing, or it was altered.',
    remedy: 'Put the key back into ENCRYPTION_KEY_FILE, or give the record its password again.',
  },
  SERVICE_HOST_REFUSED: {
    exit: exitCodes.refused,
    cause: 'A record names a database host that the service may not connect to, or whose name cannot be resolved.',
    remedy: 'Use another host, or have the operator name it in ARCHIVAL_ALLOWED_HOSTS.',
  },
  SERVICE_IDEMPOTENCY_REUSED: {
    exit: exitCodes.usage,
    cause: 'The idempotency key was used before for a different request.',
    remedy: 'Use a new key for each new request, and the same only to repeat one.',
  },
  SERVICE_QUEUE_FULL: {
    exit: exitCodes.transient,
    cause: 'As many runs wait as the queue takes.',
    remedy: 'Try again after the seconds that Retry-After says; QUEUE_SIZE sets the limit.',
  },
  SERVICE_RATE_LIMITED: {
    exit: exitCodes.transient,
    cause: 'This address has made too many requests.',
    remedy: 'Try again after the seconds that Retry-After says; RATE_LIMIT_PER_MINUTE sets the limit.',
  },
  SERVICE_NOT_READY: {
    exit: exitCodes.transient,
    cause: 'The tables of the service are not there yet.',
    remedy: 'Try again; if it stays so, grant what docs/service.md lists, and look at the log.',
  },
  SERVICE_SHUTTING_DOWN: {
    exit: exitCodes.transient,
    cause: 'The service is ending and takes no orders.',
    remedy: 'Try again; another replica or the next start will answer.',
  },
  SERVICE_API_OFF: {
    exit: exitCodes.usage,
    cause: 'The API is off because no key for tokens is set.',
    remedy: 'Set JWT_SECRET_KEY_FILE and API_CLIENTS_FILE.',
  },
  SERVICE_RUN_LOST: {
    exit: exitCodes.transient,
    cause: 'The process that did the run has died.',
    remedy: 'Nothing by hand: the run is tried again while attempts are left; then retry it.',
  },
  SERVICE_WORKER_DIED: {
    exit: exitCodes.transient,
    cause: 'The worker of a run ended without a result, for example for want of memory.',
    remedy: 'Look at the log; give the service more memory, or WORKER=job with limits of its own.',
  },
  SERVICE_WORKER_NOT_STARTED: {
    exit: exitCodes.transient,
    cause: 'The pod of a worker Job did not start in time: no node has room, or its image or a Secret is missing.',
    remedy: 'The message has what Kubernetes says; mend it, or look at the events of the namespace.',
  },
  SERVICE_WORKER_STALE: {
    exit: exitCodes.refused,
    cause: 'A worker was started for a run that has ended, or that another worker has been given.',
    remedy: 'Nothing: it has changed nothing. `loader work` is for the Jobs that the service makes.',
  },
  SERVICE_WORKER_TEMPLATE: {
    exit: exitCodes.usage,
    cause: 'WORKER_TEMPLATE_FILE holds no Job that runs can be made from.',
    remedy: 'Take the one that the chart makes: a Job with one container named database-load and no arguments.',
  },
  SERVICE_CLUSTER_UNAVAILABLE: {
    exit: exitCodes.transient,
    cause: 'The API server of Kubernetes does not answer, or not in time.',
    remedy: 'Nothing by hand if it passes; else see that the pod may reach the API server (NetworkPolicy).',
  },
  SERVICE_CLUSTER_REFUSED: {
    exit: exitCodes.refused,
    cause: 'The API server of Kubernetes refuses what the service asks of it: rights, a quota, or an admission rule.',
    remedy: "Compare the service account's Role with docs/service.md; the message has the server's reason.",
  },
  SERVICE_RUN_TIMEOUT: {
    exit: exitCodes.refused,
    cause: 'The run took longer than RUN_TIMEOUT_SECONDS and was stopped at a safe point.',
    remedy: 'Raise RUN_TIMEOUT_SECONDS, or find out what it waits for.',
  },
  SERVICE_RUN_CANCELLED: {
    exit: exitCodes.stopped,
    cause: 'Somebody cancelled the run, and it stopped at a safe point.',
    remedy: 'Retry it if it is still wanted; it goes on from there.',
  },
} as const satisfies ErrorCatalogue;

export const serviceError = errorFactory(serviceErrors);
