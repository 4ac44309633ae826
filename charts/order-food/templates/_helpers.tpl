{{- define "order-food.labels" -}}
{{ include "tableset.labels" (dict "root" . "component" "app" "commonLabels" .Values.commonLabels) }}
{{- end -}}

{{- define "order-food.selectorLabels" -}}
{{ include "tableset.selectorLabels" (dict "root" . "component" "app") }}
{{- end -}}
