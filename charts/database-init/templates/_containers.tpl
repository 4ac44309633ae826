{{/* One database-migration container: (dict "root" "values"). */}}
{{- define "tableset.migrationContainer" -}}
{{- $own := .values.initContainers.databaseMigration -}}
{{- $path := "initContainers.databaseMigration" -}}
{{- $source := include "tableset.migrationsSource" (dict "migration" $own) -}}
name: database-migration
image: {{ include "tableset.image" (dict "root" .root "shared" .values.image "image" $own.image "path" (printf "%s.image" $path)) | quote }}
imagePullPolicy: {{ include "tableset.pullPolicy" (dict "shared" .values.image "image" $own.image "path" (printf "%s.image" $path)) }}
args:
  - up
  {{- with $own.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  {{- include "tableset.env" (dict "path" $path "extra" $own.extraEnv "ours" (concat
        (include "tableset.databaseEnv" (dict "database" .values.database "own" $own.database) | fromYamlArray)
        (include "tableset.runEnv" (dict "settings" $own "trigger" "init") | fromYamlArray)
        (include "tableset.migrationEnv" $own | fromYamlArray))) | nindent 2 }}
{{- with $own.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml $own.resources | nindent 2 }}
securityContext:
  {{- toYaml $own.securityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  {{- include "tableset.databaseMounts" (dict "prefix" "database-migration" "database" .values.database) | nindent 2 }}
  {{- if ne $source "image" }}
  - {name: database-migration-files, mountPath: /migrations, readOnly: true}
  {{- end }}
  - {name: database-migration-tmp, mountPath: /tmp}
  {{- with $own.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "tableset.migrationEnv" -}}
- {name: MIGRATIONS_DIR, value: /migrations}
- {name: MIGRATIONS_FORMAT, value: {{ .format | quote }}}
- {name: MIGRATIONS_AHEAD, value: {{ .ahead | quote }}}
- {name: MIGRATIONS_OUT_OF_ORDER, value: {{ .outOfOrder | quote }}}
- {name: MIGRATIONS_LOCK_TIMEOUT_SECONDS, value: {{ .lockTimeoutSeconds | int64 | quote }}}
- {name: MIGRATIONS_LOCK_RETRIES, value: {{ .lockRetries | int64 | quote }}}
{{- if not (kindIs "invalid" .ddlBudgetRows) }}
- {name: MIGRATIONS_DDL_BUDGET_ROWS, value: {{ .ddlBudgetRows | int64 | quote }}}
{{- end }}
{{- end -}}

{{/*
One database-load container, as init container or in a Job:
(dict "root" "shared" "database" "settings" "configMap" "trigger" "path" and optionally "verb" and "arguments").
`verb` is `load` if it is left out. `settings` is what initContainers.databaseLoad has. `configMap` is its name, empty for the image's own content.
*/}}
{{- define "tableset.loadContainer" -}}
{{- $own := .settings -}}
{{- $verb := .verb | default "load" -}}
{{- $verbEnv := list (dict "name" "CONFIG_FILE" "value" "/config/config.yaml") -}}
{{- if eq $verb "load" -}}
{{- $verbEnv = append $verbEnv (dict "name" "LOAD_IF_CHANGED" "value" ($own.ifChanged | toString)) -}}
{{- end -}}
name: database-load
image: {{ include "tableset.image" (dict "root" .root "shared" .shared "image" $own.image "path" (printf "%s.image" .path)) | quote }}
imagePullPolicy: {{ include "tableset.pullPolicy" (dict "shared" .shared "image" $own.image "path" (printf "%s.image" .path)) }}
args:
  - {{ $verb }}
  {{- range .arguments }}
  - {{ . | quote }}
  {{- end }}
  {{- range $own.tables }}
  - {{ printf "--table=%s" . | quote }}
  {{- end }}
  {{- with $own.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  {{- include "tableset.env" (dict "path" .path "extra" $own.extraEnv "ours" (concat
        (include "tableset.databaseEnv" (dict "database" .database "own" ($own.database | default dict)) | fromYamlArray)
        (include "tableset.runEnv" (dict "settings" $own "trigger" .trigger) | fromYamlArray)
        $verbEnv)) | nindent 2 }}
{{- with $own.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml $own.resources | nindent 2 }}
securityContext:
  {{- toYaml $own.securityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  {{- include "tableset.databaseMounts" (dict "prefix" "database-load" "database" .database) | nindent 2 }}
  {{- if .configMap }}
  - {name: database-load-config, mountPath: /config, readOnly: true}
  {{- end }}
  - {name: database-load-tmp, mountPath: /tmp}
  {{- with $own.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The volumes of one database-load container: (dict "database" "settings" "configMap"). */}}
{{- define "tableset.loadVolumes" -}}
{{ include "tableset.databaseVolumes" (dict "prefix" "database-load" "database" .database "own" (.settings.database | default dict)) }}
{{- with .configMap }}
- name: database-load-config
  configMap:
    name: {{ . | quote }}
{{- end }}
- name: database-load-tmp
{{- if .settings.temporarySizeLimit }}
  emptyDir:
    sizeLimit: {{ .settings.temporarySizeLimit | quote }}
{{- else }}
  emptyDir: {}
{{- end }}
{{- with .settings.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
