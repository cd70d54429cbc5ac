{{/* The models of the values, each as (dict "at" PATH "name" OBJECT_NAME "spec" SPEC), as a JSON list in an object. */}}
{{- define "warmpath.models" -}}
{{- $all := list -}}
{{- if .Values.model.name }}
{{- $first := dict "name" .Values.model.name "spec" .Values.model.spec "serve" .Values.serve "prefill" .Values.prefill -}}
{{- $first = merge $first (dict "decode" .Values.decode "gpu" .Values.gpu "autoscaling" .Values.autoscaling "at" "") -}}
{{- $all = append $all $first -}}
{{- end -}}
{{- range $at, $model := .Values.models }}
{{- $all = append $all (merge (dict "at" (printf "models[%d]." $at)) (deepCopy $model)) -}}
{{- end -}}
{{- $models := list -}}
{{- range $all }}
{{- $type := dig "gpu" "type" "" . -}}
{{- $role := dict "hardware" (dict "gpu" (dict "type" $type)) -}}
{{- $of := dict "serve" (dig "serve" "replicas" 0 . | int) "prefill" (dig "prefill" "replicas" 0 . | int) "decode" (dig "decode" "replicas" 0 . | int) -}}
{{- $most := dict "serve" (dig "serve" "maxReplicas" 0 . | int) "prefill" (dig "prefill" "maxReplicas" 0 . | int) "decode" (dig "decode" "maxReplicas" 0 . | int) -}}
{{- /* A maximum without a number asks for the role as well. */ -}}
{{- range $name, $max := $most }}{{ if and $max (not (get $of $name)) }}{{ $_ := set $of $name 1 }}{{ end }}{{ end -}}
{{- if not (or $of.serve $of.prefill $of.decode) }}{{ $_ := set $of "serve" 1 }}{{ end -}}
{{- $roles := dict -}}
{{- range $name, $count := $of }}
{{- if $count }}
{{- $replicas := dict "min" $count -}}
{{- with index $most $name }}{{ $_ := set $replicas "max" . }}{{ end -}}
{{- $_ := set $roles $name (merge (dict "replicas" $replicas) (deepCopy $role)) }}
{{- end -}}
{{- end -}}
{{- $spec := dict "model" (dict "name" .name) "roles" $roles -}}
{{- $scaling := dict "enabled" (dig "autoscaling" "enabled" false .) "scaleToZero" (dig "autoscaling" "scaleToZero" false .) -}}
{{- if or $scaling.enabled $scaling.scaleToZero }}{{ $_ := set $spec "autoscaling" $scaling }}{{ end -}}
{{- $name := .name | splitList "/" | last | lower | replace "." "-" | replace "_" "-" | trimAll "-" -}}
{{- if not (regexMatch "^[a-z]" $name) }}{{ $name = printf "m-%s" $name }}{{ end -}}
{{- $spec = mergeOverwrite $spec (deepCopy (.spec | default dict)) -}}
{{- $models = append $models (dict "at" .at "name" ($name | trunc 40 | trimSuffix "-") "spec" $spec "of" $of "type" $type "scaling" $scaling) -}}
{{- end -}}
{{ dict "list" $models | toJson }}
{{- end -}}

{{/* Whether ModelServices are carried out. Empty: no. */}}
{{- define "warmpath.deploys" -}}
{{- if eq (toString .Values.modelServices) "true" }}true{{ end -}}
{{- if and (eq (toString .Values.modelServices) "<nil>") (or .Values.model.name .Values.models) }}true{{ end -}}
{{- end -}}
