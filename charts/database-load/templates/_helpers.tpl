{{/* Labels of the objects that load, archive or purge: (dict "root" "component"). */}}
{{- define "database-load.labels" -}}
{{ include "tableset.labels" (dict "root" .root "component" .component "commonLabels" .root.Values.commonLabels) }}
{{- end -}}

{{- define "database-load.podLabels" -}}
{{ include "tableset.podLabels" (dict "root" .root "component" .component "podLabels" .root.Values.podLabels "commonLabels" .root.Values.commonLabels) }}
{{- end -}}

{{/* The CronJob of a verb has the release's name, that of archive and purge with the verb behind it: (dict "root" "verb"). */}}
{{- define "database-load.cronjobName" -}}
{{- $name := include "tableset.fullname" .root -}}
{{- if eq .verb "load" }}{{ $name }}{{ else }}{{ $name | trunc (int (sub 51 (len .verb))) | trimSuffix "-" }}-{{ .verb }}{{ end -}}
{{- end -}}

{{/* The ConfigMap has the release's own name, by which init containers elsewhere refer to it. */}}
{{- define "database-load.configMapName" -}}
{{ include "tableset.loadConfigMapName" (dict "root" . "settings" .Values "name" (include "tableset.fullname" .)) }}
{{- end -}}

{{/* A CronJob: (dict "root" "verb" "run" "path"), where run is its values, which stand at path. */}}
{{- define "database-load.cronjob" -}}
{{- $scope := dict "root" .root "component" .verb -}}
{{- with .run -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "database-load.cronjobName" $ }}
  labels:
    {{- include "database-load.labels" $scope | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  schedule: {{ .schedule | quote }}
  timeZone: {{ .timeZone | quote }}
  concurrencyPolicy: {{ .concurrencyPolicy }}
  {{- if .suspend }}
  suspend: true
  {{- end }}
  startingDeadlineSeconds: {{ .startingDeadlineSeconds | int64 }}
  successfulJobsHistoryLimit: {{ .successfulJobsHistoryLimit | int64 }}
  failedJobsHistoryLimit: {{ .failedJobsHistoryLimit | int64 }}
  jobTemplate:
    metadata:
      # kubectl create job --from copies these, not the CronJob's own.
      labels:
        {{- include "database-load.podLabels" $scope | nindent 8 }}
    spec:
      {{- include "database-load.jobSpec" (merge (dict "trigger" "cron") $) | nindent 6 }}
{{- end }}
{{- end -}}

{{/*
How often a run is tried again: (dict "root" "run"). A run that ends at a limit of time ends with exit 1, like a passing fault; tried again at once it would take what the limit denies it, and
the lock that others wait for.
*/}}
{{- define "database-load.backoffLimit" -}}
{{- if kindIs "invalid" .run.backoffLimit -}}
{{- $limits := get .root.Values.config "limits" | default dict -}}
{{- if or (hasKey $limits "maxRuntime") (hasKey $limits "window") }}0{{ else }}2{{ end -}}
{{- else -}}
{{ .run.backoffLimit | int64 }}
{{- end -}}
{{- end -}}

{{/* The spec of a Job: (dict "root" "verb" "run" "path" "trigger"), where run is .Values.cronjob, .Values.job and so on. */}}
{{- define "database-load.jobSpec" -}}
{{- $values := .root.Values -}}
{{- $run := .run -}}
{{- if and $run.podFailurePolicy $run.podFailurePolicy.enabled (ne $run.restartPolicy "Never") -}}
{{- fail (printf "%s.podFailurePolicy needs %s.restartPolicy=Never: Kubernetes refuses it with OnFailure; or set %s.podFailurePolicy.enabled=false" .path .path .path) -}}
{{- end -}}
{{- $workers := $run.parallelism | default 1 | int64 -}}
{{- $scope := . -}}
{{- if gt $workers 1 -}}
{{- $scope = merge (dict "arguments" (list (printf "--shards=%d" $workers))) . -}}
completionMode: Indexed
completions: {{ $workers }}
parallelism: {{ $workers }}
{{ end -}}
{{- /* Tries are counted over all pods of the Job. */ -}}
backoffLimit: {{ include "database-load.backoffLimit" . | int64 | mul $workers }}
activeDeadlineSeconds: {{ $run.activeDeadlineSeconds | int64 }}
{{- if not (kindIs "invalid" $run.ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ $run.ttlSecondsAfterFinished | int64 }}
{{- end }}
{{- /* Beside a pod that is on its way out, another would find the lock held, say `skipped` and make the Job a success. */}}
podReplacementPolicy: Failed
{{- if and $run.podFailurePolicy $run.podFailurePolicy.enabled }}
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    - action: FailJob
      onExitCodes: {containerName: database-load, operator: In, values: [2, 3]}
{{- end }}
template:
  metadata:
    labels:
      {{- include "database-load.podLabels" (dict "root" .root "component" .verb) | nindent 6 }}
    {{- with $values.podAnnotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    restartPolicy: {{ $run.restartPolicy }}
    {{- include "database-load.podSpec" $scope | nindent 4 }}
{{- end -}}

{{/*
What the container of a verb is set to: the chart's values, with the verb's own tables, arguments and account, and for verbs other than load what stores need:
(dict "root" "verb").
*/}}
{{- define "database-load.settings" -}}
{{- $values := .root.Values -}}
{{- $settings := omit $values "database" "config" "files" "binaryFiles" -}}
{{- if ne .verb "load" -}}
{{- $own := get $values .verb -}}
{{- $stores := $values.stores -}}
{{- $volumes := $values.extraVolumes -}}
{{- $mounts := $values.extraVolumeMounts -}}
{{- with $stores.existingClaim -}}
{{- $volumes = append $volumes (dict "name" "store" "persistentVolumeClaim" (dict "claimName" .)) -}}
{{- $mounts = append $mounts (dict "name" "store" "mountPath" $stores.mountPath) -}}
{{- end -}}
{{- range $index, $name := $stores.existingSecrets -}}
{{- $volume := printf "store-secret-%d" $index -}}
{{- $volumes = append $volumes (dict "name" $volume "secret" (dict "secretName" $name)) -}}
{{- $mounts = append $mounts (dict "name" $volume "mountPath" (printf "/secrets/stores/%s" $name) "readOnly" true) -}}
{{- end -}}
{{- $theirs := dict "tables" $own.tables "extraArgs" $own.extraArgs "database" $own.database "extraVolumes" $volumes "extraVolumeMounts" $mounts -}}
{{- $settings = merge $theirs (omit $settings "tables" "extraArgs" "extraVolumes" "extraVolumeMounts") -}}
{{- end -}}
{{ toYaml $settings }}
{{- end -}}

{{/* What every pod of the chart has: (dict "root" "verb" "trigger" and optionally "arguments"). */}}
{{- define "database-load.podSpec" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $configMap := include "database-load.configMapName" .root -}}
{{- $settings := include "database-load.settings" . | fromYaml -}}
serviceAccountName: {{ include "tableset.serviceAccountName" .root }}
automountServiceAccountToken: false
{{- with include "tableset.imagePullSecrets" .root }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds | int64 }}
{{- with $values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  -
    {{- include "tableset.loadContainer" (dict "root" .root "shared" $values.image "database" $values.database "settings" $settings "configMap" $configMap "trigger" .trigger "path" "" "verb" .verb "arguments" .arguments) | nindent 4 }}
volumes:
  {{- include "tableset.loadVolumes" (dict "database" $values.database "settings" $settings "configMap" $configMap) | nindent 2 }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Where every pod may go: DNS, the database, and what the user lists. */}}
{{- define "database-load.egress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports:
    - {port: {{ .Values.database.port | int64 }}, protocol: TCP}
  {{- with .Values.networkPolicy.databasePeers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
