{{/* Objects of the service have the release's name with this behind it. */}}
{{- define "database-load.serviceName" -}}
{{ include "tableset.fullname" . }}-service
{{- end -}}

{{/* Names of worker Jobs begin with it; the numbers of the run come behind. */}}
{{- define "database-load.workerName" -}}
{{ include "tableset.fullname" . | trunc 33 | trimSuffix "-" }}-worker
{{- end -}}

{{- define "database-load.serviceAccountOfService" -}}
{{- $account := .Values.service.serviceAccount -}}
{{- if $account.create }}{{ $account.name | default (include "database-load.serviceName" .) }}{{ else }}{{ $account.name | default "default" }}{{ end -}}
{{- end -}}

{{/* "true" where the service needs a Lease, empty otherwise. One pod alone needs none, and then no token either. */}}
{{- define "database-load.serviceElects" -}}
{{- $service := .Values.service -}}
{{- if or (eq $service.worker.kind "job") (gt ($service.replicaCount | default 1 | int64) 1) }}true{{ end -}}
{{- end -}}

{{/* When a task is due: (dict "given" "standard" "cronjob"), where cronjob says whether a CronJob does it already. */}}
{{- define "database-load.serviceSchedule" -}}
{{- if not (kindIs "invalid" .given) }}{{ .given }}{{ else if .cronjob }}off{{ else }}{{ .standard }}{{ end -}}
{{- end -}}

{{/* Where the keys that stored passwords are sealed with are mounted, in the service and in its workers. */}}
{{- define "database-load.encryptionEnv" -}}
{{- with .Values.service.api -}}
{{- if and .existingSecret .encryptionKey -}}
- {name: ENCRYPTION_KEY_FILE, value: /secrets/encryption/keys}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "database-load.serviceEnv" -}}
{{- $values := .Values -}}
{{- $service := $values.service -}}
{{- $schedules := $service.schedules -}}
- {name: HEALTH_SERVER_PORT, value: "8080"}
- {name: CRON_SCHEDULE, value: {{ include "database-load.serviceSchedule" (dict "given" $schedules.load "standard" "0 */6 * * *" "cronjob" $values.cronjob.enabled) | quote }}}
- {name: ARCHIVAL_JOB_CRON, value: {{ include "database-load.serviceSchedule" (dict "given" $schedules.archive "standard" "0 2 * * *" "cronjob" $values.archive.cronjob.enabled) | quote }}}
- {name: PURGE_JOB_CRON, value: {{ include "database-load.serviceSchedule" (dict "given" $schedules.purge "standard" "0 3 * * *" "cronjob" $values.purge.cronjob.enabled) | quote }}}
- {name: VERIFY_JOB_CRON, value: {{ $schedules.verify | quote }}}
- {name: SCHEDULE_TIME_ZONE, value: {{ $schedules.timeZone | quote }}}
- {name: QUEUE_SIZE, value: {{ $service.queueSize | int64 | quote }}}
- {name: RUN_ATTEMPTS, value: {{ $service.runAttempts | int64 | quote }}}
- {name: RUN_TIMEOUT_SECONDS, value: {{ $service.runTimeoutSeconds | int64 | quote }}}
- {name: SHUTDOWN_SECONDS, value: {{ $service.shutdownSeconds | int64 | quote }}}
- {name: WORKER, value: {{ $service.worker.kind | quote }}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if include "database-load.serviceElects" . }}
- {name: LEASE_NAME, value: {{ include "database-load.serviceName" . | quote }}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end }}
{{- if eq $service.worker.kind "job" }}
- {name: WORKER_TEMPLATE_FILE, value: /worker/job.yaml}
{{- end }}
{{- if $service.triggerToken.existingSecret }}
- {name: TRIGGER_TOKEN_FILE, value: /secrets/trigger/token}
{{- end }}
{{- if $service.api.existingSecret }}
- {name: JWT_SECRET_KEY_FILE, value: /secrets/api/jwt-key}
- {name: API_CLIENTS_FILE, value: /secrets/api/clients}
{{- end }}
{{- with $service.webhook }}
{{- if .existingSecret }}
- name: WEBHOOK_URL
  valueFrom: {secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .urlKey | quote }}}}
- {name: WEBHOOK_SECRET_FILE, value: /secrets/webhook/secret}
{{- end }}
{{- end }}
{{- with include "database-load.encryptionEnv" . }}
{{ . }}
{{- end }}
{{- end -}}

{{/* Volumes beside those of every pod, each with where it is mounted: (dict "root" "own"), where own is false for a worker. */}}
{{- define "database-load.serviceVolumes" -}}
{{- $service := .root.Values.service -}}
{{- $api := $service.api -}}
{{- if and .own $service.triggerToken.existingSecret }}
- mountPath: /secrets/trigger
  volume: {name: service-trigger, secret: {secretName: {{ $service.triggerToken.existingSecret | quote }}, items: [{key: {{ $service.triggerToken.key | quote }}, path: token}]}}
{{- end }}
{{- if and .own $api.existingSecret }}
- mountPath: /secrets/api
  volume: {name: service-api, secret: {secretName: {{ $api.existingSecret | quote }}, items: [{key: {{ $api.jwtKey | quote }}, path: jwt-key}, {key: {{ $api.clientsKey | quote }}, path: clients}]}}
{{- end }}
{{- if and .own $service.webhook.existingSecret }}
- mountPath: /secrets/webhook
  volume: {name: service-webhook, secret: {secretName: {{ $service.webhook.existingSecret | quote }}, items: [{key: {{ $service.webhook.secretKey | quote }}, path: secret}]}}
{{- end }}
{{- if and $api.existingSecret $api.encryptionKey }}
- mountPath: /secrets/encryption
  volume: {name: service-encryption, secret: {secretName: {{ $api.existingSecret | quote }}, items: [{key: {{ $api.encryptionKey | quote }}, path: keys}]}}
{{- end }}
{{- if and .own (eq $service.worker.kind "job") }}
- mountPath: /worker
  volume: {name: service-worker, configMap: {name: {{ include "database-load.workerName" .root | quote }}}}
{{- end }}
{{- end -}}

{{/* The pod of the service, or with own: false that of a worker: what every pod here has, and what these need beside it. */}}
{{- define "database-load.servicePod" -}}
{{- $root := .root -}}
{{- $service := $root.Values.service -}}
{{- $spec := include "database-load.podSpec" (dict "root" $root "verb" "service" "trigger" "service") | fromYaml -}}
{{- $container := first $spec.containers -}}
{{- $mounts := $container.volumeMounts -}}
{{- $volumes := $spec.volumes -}}
{{- range include "database-load.serviceVolumes" . | fromYamlArray -}}
{{- $volumes = append $volumes .volume -}}
{{- $mounts = append $mounts (dict "name" .volume.name "mountPath" .mountPath "readOnly" true) -}}
{{- end -}}
{{- $ours := ternary (include "database-load.serviceEnv" $root) (include "database-load.encryptionEnv" $root) .own | fromYamlArray -}}
{{- /* What the user named goes before ours. */ -}}
{{- $env := include "tableset.env" (dict "path" "" "extra" $container.env "ours" $ours) | fromYamlArray -}}
{{- $changes := dict "volumeMounts" $mounts "env" $env -}}
{{- if .own -}}
{{- $env = include "tableset.env" (dict "path" "service" "extra" $service.extraEnv "ours" $env) | fromYamlArray -}}
{{- $changes = merge (dict "args" (list "serve") "env" $env "resources" $service.resources "ports" (list (dict "name" "http" "containerPort" 8080))) $changes -}}
{{- range $probe := list "readinessProbe" "livenessProbe" -}}
{{- with get $service $probe }}{{ $_ := set $changes $probe . }}{{ end -}}
{{- end -}}
{{- if and $service.preStopSleepSeconds (semverCompare ">=1.30.0-0" $root.Capabilities.KubeVersion.Version) -}}
{{- $_ := set $changes "lifecycle" (dict "preStop" (dict "sleep" (dict "seconds" ($service.preStopSleepSeconds | int64)))) -}}
{{- end -}}
{{- else -}}
{{- with $service.worker.resources }}{{ $_ := set $changes "resources" . }}{{ end -}}
{{- end -}}
{{- $container = merge $changes (omit $container "args" "env" "volumeMounts" "resources") (pick $container "resources") -}}
{{- $pod := dict "containers" (list $container) "volumes" $volumes -}}
{{- if .own -}}
{{- $elects := include "database-load.serviceElects" $root | eq "true" -}}
{{- /* Running work, and what a stop of it takes. */ -}}
{{- $grace := add ($service.shutdownSeconds | int64) ($service.preStopSleepSeconds | int64) 20 -}}
{{- $pod = merge (dict "serviceAccountName" (include "database-load.serviceAccountOfService" $root) "automountServiceAccountToken" $elects "terminationGracePeriodSeconds" $grace) $pod -}}
{{- else -}}
{{- $pod = merge (dict "restartPolicy" "Never") $pod -}}
{{- end -}}
{{ toYaml (merge $pod (omit $spec "containers" "volumes")) }}
{{- end -}}
