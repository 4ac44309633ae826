{{/* Helm's usual name of a release's objects: the release's own where it already has the chart's. */}}
{{- define "tableset.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* What selectors carry, which can never change: (dict "root" "component"). */}}
{{- define "tableset.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default .root.Chart.Name | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* What objects carry: (dict "root" "component" "commonLabels"). */}}
{{- define "tableset.labels" -}}
{{- $ours := include "tableset.selectorLabels" . | fromYaml -}}
{{- $ours = merge $ours (dict
      "app.kubernetes.io/version" .root.Chart.AppVersion
      "app.kubernetes.io/managed-by" .root.Release.Service
      "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")) -}}
{{ toYaml (merge $ours (.commonLabels | default dict)) }}
{{- end -}}

{{/* A test's pod has a name of its own, so that who asks for the app's pods, or their logs, gets no other. */}}
{{- define "tableset.testLabels" -}}
{{- $labels := include "tableset.labels" (dict "root" . "component" "test" "commonLabels" .Values.commonLabels) | fromYaml -}}
{{ toYaml (set $labels "app.kubernetes.io/name" (printf "%s-test" (get $labels "app.kubernetes.io/name"))) }}
{{- end -}}

{{/* What pods carry: labels that change with a release are left out, so that an upgrade of the chart alone restarts nothing. */}}
{{- define "tableset.podLabels" -}}
{{- $ours := include "tableset.selectorLabels" . | fromYaml -}}
{{ toYaml (merge $ours (.podLabels | default dict) (.commonLabels | default dict)) }}
{{- end -}}

{{- define "tableset.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "tableset.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* One list of {name: …} out of global.imagePullSecrets and imagePullSecrets, which hold names. */}}
{{- define "tableset.imagePullSecrets" -}}
{{- $global := .Values.global | default dict -}}
{{- $names := concat ($global.imagePullSecrets | default list) (.Values.imagePullSecrets | default list) | uniq -}}
{{- range $names }}
- name: {{ . | quote }}
{{- end }}
{{- end -}}
