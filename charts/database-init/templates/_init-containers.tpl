{{/*
The public helpers of this library. Each takes the chart's root context and reads `.Values.tableset`, or
(dict "root" $ "values" …) where the same values stand elsewhere.

  tableset.initContainers   items of the pod's initContainers
  tableset.volumes          items of the pod's volumes
  tableset.configMaps       documents: ConfigMaps of migrations and load configuration that come from values or chart files
  tableset.checksum         hash of those, for an annotation that restarts the pods when they change
*/}}

{{/* By name and in this order: `range` over a map would put databaseLoad first. */}}
{{- define "tableset.initContainers" -}}
{{- $root := .root | default . -}}
{{- $values := .values | default $root.Values.tableset -}}
{{- if not .values -}}
{{- range $root.Subcharts -}}
{{- with dig "exports" "tableset" "tableset" nil .Values.AsMap -}}
{{- include "tableset.refuseUnknown" (dict "given" $values "known" . "path" "tableset") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $containers := list -}}
{{- $containers = concat $containers (include "tableset.list" (dict "items" $values.extraInitContainers.before "root" $root) | fromYamlArray) -}}
{{- if $values.initContainers.databaseMigration.enabled -}}
{{- $containers = append $containers (include "tableset.migrationContainer" (dict "root" $root "values" $values) | fromYaml) -}}
{{- end -}}
{{- if $values.initContainers.databaseLoad.enabled -}}
{{- $load := $values.initContainers.databaseLoad -}}
{{- $configMap := include "tableset.loadConfigMapName" (dict "root" $root "settings" $load) -}}
{{- $containers = append $containers (include "tableset.loadContainer" (dict "root" $root "shared" $values.image "database" $values.database "settings" $load "configMap" $configMap "trigger" "init" "path" "initContainers.databaseLoad") | fromYaml) -}}
{{- end -}}
{{- $containers = concat $containers (include "tableset.list" (dict "items" $values.extraInitContainers.after "root" $root) | fromYamlArray) -}}
{{- if $containers }}{{ toYaml $containers }}{{ end -}}
{{- end -}}

{{- define "tableset.volumes" -}}
{{- $root := .root | default . -}}
{{- $values := .values | default $root.Values.tableset -}}
{{- $migration := $values.initContainers.databaseMigration -}}
{{- $load := $values.initContainers.databaseLoad -}}
{{- $volumes := list -}}
{{- if $migration.enabled -}}
{{- $volumes = concat $volumes (include "tableset.databaseVolumes" (dict "prefix" "database-migration" "database" $values.database "own" $migration.database) | fromYamlArray) -}}
{{- with include "tableset.migrationsVolume" (dict "root" $root "migration" $migration) -}}
{{- $volumes = append $volumes (fromYaml .) -}}
{{- end -}}
{{- $volumes = append $volumes (dict "name" "database-migration-tmp" "emptyDir" dict) -}}
{{- $volumes = concat $volumes $migration.extraVolumes -}}
{{- end -}}
{{- if $load.enabled -}}
{{- $configMap := include "tableset.loadConfigMapName" (dict "root" $root "settings" $load) -}}
{{- $volumes = concat $volumes (include "tableset.loadVolumes" (dict "database" $values.database "settings" $load "configMap" $configMap) | fromYamlArray) -}}
{{- end -}}
{{- if $volumes }}{{ toYaml $volumes }}{{ end -}}
{{- end -}}

{{- define "tableset.configMaps" -}}
{{- $root := .root | default . -}}
{{- $values := .values | default $root.Values.tableset -}}
{{- $migration := $values.initContainers.databaseMigration -}}
{{- $load := $values.initContainers.databaseLoad -}}
{{- $source := include "tableset.migrationsSource" (dict "migration" $migration) -}}
{{- if and $migration.enabled (or (eq $source "files") (eq $source "chartFiles")) }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "tableset.fullname" $root }}-migrations
  labels:
    {{- include "tableset.labels" (dict "root" $root "component" "migrations" "commonLabels" $root.Values.commonLabels) | nindent 4 }}
data:
  {{- if eq $source "files" }}
  {{- toYaml $migration.migrations.files | nindent 2 }}
  {{- else }}
  {{- range $path, $_ := $root.Files.Glob $migration.migrations.chartFiles }}
  {{ base $path | quote }}: {{ $root.Files.Get $path | toRawJson }}
  {{- end }}
  {{- end }}
{{- end }}
{{- if and $load.enabled (include "tableset.ownsLoadConfigMap" (dict "settings" $load)) }}
---
{{ include "tableset.loadConfigMap" (dict "root" $root "settings" $load "labels" (dict "root" $root "component" "load" "commonLabels" $root.Values.commonLabels)) }}
{{- end }}
{{- end -}}

{{- define "tableset.checksum" -}}
{{- /* Labels that change with every release of the chart must restart nothing. */}}
{{- regexReplaceAll "(?m)^    (helm.sh/chart|app.kubernetes.io/version): .*$" (include "tableset.configMaps" .) "" | sha256sum -}}
{{- end -}}

{{/* Templates may stand in a consumer's own init containers, such as {{ .Release.Name }}. */}}
{{- define "tableset.list" -}}
{{- tpl (toYaml .items) .root -}}
{{- end -}}

{{/* A schema of ours never sees values under another chart's key, so a typing error there is refused here. */}}
{{- define "tableset.refuseUnknown" -}}
{{- $known := .known -}}
{{- $path := .path -}}
{{- range $key, $value := .given -}}
{{- /* Some helms leave out a default that is null. */}}
{{- if not (or (hasKey $known $key) (eq $key "ddlBudgetRows")) -}}
{{- fail (printf "%s.%s is not known; there are %s" $path $key (keys $known | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $standard := get $known $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $standard) $standard (not (has $key (list "resources" "securityContext"))) -}}
{{- include "tableset.refuseUnknown" (dict "given" $value "known" $standard "path" (printf "%s.%s" $path $key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
