{{- define "database-load.labels" -}}
{{ include "tableset.labels" (dict "root" . "component" "load" "commonLabels" .Values.commonLabels) }}
{{- end -}}

{{- define "database-load.podLabels" -}}
{{ include "tableset.podLabels" (dict "root" . "component" "load" "podLabels" .Values.podLabels "commonLabels" .Values.commonLabels) }}
{{- end -}}

{{/* The ConfigMap has the release's own name, by which init containers elsewhere refer to it. */}}
{{- define "database-load.configMapName" -}}
{{ include "tableset.loadConfigMapName" (dict "root" . "settings" .Values "name" (include "tableset.fullname" .)) }}
{{- end -}}

{{/* The spec of a Job: (dict "root" "run" "trigger"), where run is .Values.cronjob or .Values.job. */}}
{{- define "database-load.jobSpec" -}}
{{- $values := .root.Values -}}
{{- $run := .run -}}
{{- if and $run.podFailurePolicy $run.podFailurePolicy.enabled (ne $run.restartPolicy "Never") -}}
{{- fail "cronjob.podFailurePolicy needs cronjob.restartPolicy=Never: Kubernetes refuses it with OnFailure" -}}
{{- end -}}
backoffLimit: {{ $run.backoffLimit | int64 }}
activeDeadlineSeconds: {{ $run.activeDeadlineSeconds | int64 }}
{{- if not (kindIs "invalid" $run.ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ $run.ttlSecondsAfterFinished | int64 }}
{{- end }}
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
      {{- include "database-load.podLabels" .root | nindent 6 }}
    {{- with $values.podAnnotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    restartPolicy: {{ $run.restartPolicy }}
    {{- include "database-load.podSpec" . | nindent 4 }}
{{- end -}}

{{/* What every pod of the chart has: (dict "root" "trigger" and optionally "arguments"). */}}
{{- define "database-load.podSpec" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $configMap := include "database-load.configMapName" .root -}}
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
    {{- include "tableset.loadContainer" (dict "root" .root "shared" $values.image "database" $values.database "settings" (omit $values "database") "configMap" $configMap "trigger" .trigger "path" "" "arguments" .arguments) | nindent 4 }}
volumes:
  {{- include "tableset.loadVolumes" (dict "database" $values.database "settings" (omit $values "database") "configMap" $configMap) | nindent 2 }}
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
