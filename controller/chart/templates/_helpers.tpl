{{/* Names, labels and pod settings that the templates share. */}}

{{- define "warmpath.controller" -}}{{ printf "%s-controller" (.Release.Name | trunc 50 | trimSuffix "-") }}{{- end -}}
{{- define "warmpath.gateway" -}}{{ printf "%s-gateway" (.Release.Name | trunc 50 | trimSuffix "-") }}{{- end -}}
{{- define "warmpath.tokenSecret" -}}
{{ .Values.auth.tokenSecret | default (printf "%s-token" (.Release.Name | trunc 50 | trimSuffix "-")) }}
{{- end -}}
{{- define "warmpath.controllerHost" -}}{{ include "warmpath.controller" . }}.{{ .Release.Namespace }}.svc{{- end -}}

{{/* The labels by which a component is selected: (list $ "controller"). */}}
{{- define "warmpath.selector" -}}
app.kubernetes.io/name: warmpath
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "warmpath.labels" -}}
{{- $root := index . 0 -}}
{{ include "warmpath.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* The namespaces that the controller watches, as a JSON list in an object. Empty with clusterWide. */}}
{{- define "warmpath.namespaces" -}}
{{- $namespaces := .Values.namespaces | default (list .Release.Namespace) -}}
{{- if .Values.clusterWide }}{{ $namespaces = list }}{{ end -}}
{{ dict "list" ($namespaces | uniq) | toJson }}
{{- end -}}

{{/* Pods that listen on IPv4 only must not be reached by IPv6, which clients prefer. */}}
{{- define "warmpath.ipFamilyPolicy" -}}
{{ ternary "PreferDualStack" "SingleStack" (eq .Values.listen "[::]") }}
{{- end -}}

{{- define "warmpath.image" -}}
{{ required "image.controller: name the image that you built with `./just image`, such as registry.example.com/warmpath:0.1.0" .Values.image.controller }}
{{- end -}}

{{/* The settings of every pod: no root, the default seccomp profile, replicas spread over nodes and zones. */}}
{{- define "warmpath.podSpec" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- with $root.Values.runAsUser }}
  runAsUser: {{ int64 . }}
  runAsGroup: {{ int64 . }}
  fsGroup: {{ int64 . }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "warmpath.selector" . | nindent 12 }}
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "warmpath.selector" . | nindent 6 }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{- define "warmpath.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The filter's settings from the values, as JSON. The cell size must be the controller's. */}}
{{- define "warmpath.filterSettings" -}}
{{- $settings := deepCopy .Values.gateway.filter -}}
{{- range $key := list "cell_bytes" "omitted_prefixes" }}
{{- if hasKey $.Values.controller.settings $key }}{{ $_ := set $settings $key (index $.Values.controller.settings $key) }}{{ end }}
{{- end -}}
{{ $settings | toJson }}
{{- end -}}
