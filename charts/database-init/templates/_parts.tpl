{{/* What containers are made of; no part is public. */}}

{{/* registry/repository:tag, or @digest: (dict "root" "shared" "image" "path"). */}}
{{- define "tableset.image" -}}
{{- $global := .root.Values.global | default dict -}}
{{- $registry := $global.imageRegistry | default .image.registry | default .shared.registry -}}
{{- $repository := .image.repository -}}
{{- if $registry }}{{ $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository }}{{ end -}}
{{- if .image.digest -}}
{{ printf "%s@%s" $repository .image.digest }}
{{- else if .image.tag -}}
{{ printf "%s:%s" $repository (toString .image.tag) }}
{{- else -}}
{{- fail (printf "%s: set tag or digest" .path) -}}
{{- end -}}
{{- end -}}

{{/* An image named by digest was never built on the node, so that Never could not find it. */}}
{{- define "tableset.pullPolicy" -}}
{{- $policy := .image.pullPolicy | default .shared.pullPolicy -}}
{{- if and .image.digest (eq $policy "Never") -}}
{{- fail (printf "%s: pullPolicy Never cannot go with a digest; leave digest empty, or pull" .path) -}}
{{- end -}}
{{ $policy }}
{{- end -}}

{{/* Ours without those that extra replaces, then extra: the API server refuses an environment with a name twice. */}}
{{- define "tableset.env" -}}
{{- $names := dict -}}
{{- $path := .path -}}
{{- range .extra -}}
{{- if hasKey $names .name }}{{ fail (printf "%s.extraEnv: %s stands there twice" $path .name) }}{{ end -}}
{{- $_ := set $names .name true -}}
{{- end -}}
{{- $all := list -}}
{{- range .ours -}}
{{- if not (hasKey $names .name) }}{{ $all = append $all . }}{{ end -}}
{{- end -}}
{{ toYaml (concat $all .extra) }}
{{- end -}}

{{/* The account's own entries go before the shared ones: (dict "database" "own"). */}}
{{- define "tableset.databaseEnv" -}}
{{- $secret := .own.existingSecret | default .database.existingSecret -}}
{{- $userKey := .own.userKey | default .database.userKey -}}
{{- if and .database.tlsCaSecret (ne .database.tls "verify") -}}
{{- fail (printf "database.tlsCaSecret is set but database.tls is %s, which checks no certificate: set database.tls=verify" .database.tls) -}}
{{- end -}}
- {name: DB_HOST, value: {{ .database.host | quote }}}
- {name: DB_PORT, value: {{ .database.port | int64 | quote }}}
- {name: DB_NAME, value: {{ .database.name | quote }}}
{{- if and $userKey (not .own.user) }}
- name: DB_USER
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: {{ $userKey | quote }}}}
{{- else }}
- {name: DB_USER, value: {{ .own.user | default .database.user | quote }}}
{{- end }}
- {name: DB_PASSWORD_FILE, value: /secrets/database/password}
- {name: DB_TLS, value: {{ .database.tls | quote }}}
{{- if .database.tlsCaSecret }}
- {name: DB_TLS_CA_FILE, value: /secrets/database-ca/ca.crt}
{{- end }}
- {name: DB_WAIT_SECONDS, value: {{ .database.waitSeconds | int64 | quote }}}
- {name: DB_SINGLE_WRITER, value: {{ .database.singleWriter | quote }}}
{{- end -}}

{{- define "tableset.runEnv" -}}
- {name: ON_BUSY, value: {{ .settings.onBusy | quote }}}
- {name: LOCK_WAIT_SECONDS, value: {{ .settings.lockWaitSeconds | int64 | quote }}}
- {name: LOG_LEVEL, value: {{ .settings.logLevel | quote }}}
- {name: RUN_TRIGGER, value: {{ .trigger | quote }}}
{{- end -}}

{{- define "tableset.databaseMounts" -}}
- {name: {{ .prefix }}-password, mountPath: /secrets/database, readOnly: true}
{{- if .database.tlsCaSecret }}
- {name: {{ .prefix }}-ca, mountPath: /secrets/database-ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "tableset.databaseVolumes" -}}
- name: {{ .prefix }}-password
  secret:
    secretName: {{ .own.existingSecret | default .database.existingSecret | quote }}
    items: [{key: {{ .own.passwordKey | default .database.passwordKey | quote }}, path: password}]
{{- if .database.tlsCaSecret }}
- name: {{ .prefix }}-ca
  secret:
    secretName: {{ .database.tlsCaSecret | quote }}
    items: [{key: {{ .database.tlsCaKey | quote }}, path: ca.crt}]
{{- end }}
{{- end -}}

{{/* files, chartFiles, existingConfigMap, volume or image. */}}
{{- define "tableset.migrationsSource" -}}
{{- $sources := list -}}
{{- $migrations := .migration.migrations -}}
{{- range list "files" "chartFiles" "existingConfigMap" "volume" -}}
{{- if get $migrations . }}{{ $sources = append $sources . }}{{ end -}}
{{- end -}}
{{- if gt (len $sources) 1 -}}
{{- fail (printf "initContainers.databaseMigration.migrations: %s are set; use one of them" (join " and " $sources)) -}}
{{- end -}}
{{ first $sources | default "image" }}
{{- end -}}

{{- define "tableset.migrationsVolume" -}}
{{- $source := include "tableset.migrationsSource" (dict "migration" .migration) -}}
{{- $migrations := .migration.migrations -}}
{{- if eq $source "volume" -}}
{{ toYaml (merge (dict "name" "database-migration-files") $migrations.volume) }}
{{- else if ne $source "image" -}}
name: database-migration-files
configMap:
  name: {{ $migrations.existingConfigMap | default (printf "%s-migrations" (include "tableset.fullname" .root)) | quote }}
{{- end -}}
{{- end -}}

{{/* "true" where values bring content of their own, empty otherwise. */}}
{{- define "tableset.ownsLoadConfigMap" -}}
{{- $own := .settings -}}
{{- $content := or $own.config $own.files $own.binaryFiles $own.chartFiles -}}
{{- if and $own.existingConfigMap $content -}}
{{- fail "existingConfigMap goes with none of config, files, binaryFiles and chartFiles: that ConfigMap holds them all" -}}
{{- end -}}
{{- if and $content (not $own.config) -}}
{{- fail "files, binaryFiles and chartFiles lie beside config.yaml: set config too" -}}
{{- end -}}
{{- if $content }}true{{ end -}}
{{- end -}}

{{- define "tableset.loadConfigMapName" -}}
{{- if include "tableset.ownsLoadConfigMap" . -}}
{{ .name | default (printf "%s-load" (include "tableset.fullname" .root)) }}
{{- else -}}
{{ .settings.existingConfigMap }}
{{- end -}}
{{- end -}}

{{/* (dict "root" "settings" "labels" and optionally "name"). */}}
{{- define "tableset.loadConfigMap" -}}
{{- $own := .settings -}}
{{- $root := .root -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "tableset.loadConfigMapName" . }}
  labels:
    {{- include "tableset.labels" .labels | nindent 4 }}
data:
  config.yaml: |
    {{- toYaml $own.config | nindent 4 }}
  {{- range $name, $text := $own.files }}
  {{ $name | quote }}: {{ $text | toRawJson }}
  {{- end }}
{{- if or $own.binaryFiles $own.chartFiles }}
binaryData:
  {{- range $name, $content := $own.binaryFiles }}
  {{ $name | quote }}: {{ $content | quote }}
  {{- end }}
  {{- if $own.chartFiles }}
  {{- range $path, $content := $root.Files.Glob $own.chartFiles }}
  {{ base $path | quote }}: {{ toString $content | b64enc | quote }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
