{{- define "kube-vmap.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name and the chart's, once where they are alike. */}}
{{- define "kube-vmap.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "kube-vmap.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "kube-vmap.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the DaemonSet knows its pods by. It can't be changed by an upgrade. */}}
{{- define "kube-vmap.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kube-vmap.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kube-vmap.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "kube-vmap.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: service-proxy
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kube-vmap.serviceAccountName" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "kube-vmap.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "kube-vmap.image" -}}
{{- with .Values.image -}}
{{- .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* An address and a port, with brackets around IPv6. */}}
{{- define "kube-vmap.hostPort" -}}
{{- if contains ":" .bindAddress -}}
[{{ .bindAddress }}]:{{ .port }}
{{- else -}}
{{ .bindAddress }}:{{ .port }}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.isLoopback" -}}
{{- if or (hasPrefix "127." .) (eq "::1" .) (eq "localhost" .) -}}
true
{{- end -}}
{{- end -}}

{{/* Where the kubelet asks. Without a host it asks the pod's address, the node's. */}}
{{- define "kube-vmap.probe" -}}
httpGet:
  path: {{ .path }}
  port: healthz
  {{- if not (has .healthz.bindAddress (list "0.0.0.0" "::")) }}
  host: {{ .healthz.bindAddress | quote }}
  {{- end }}
{{ toYaml .timing }}
{{- end -}}

{{- define "kube-vmap.conntrackArgs" -}}
{{- with .Values.conntrack -}}
{{- if .enabled -}}
- --conntrack-max-per-core={{ int64 .maxPerCore }}
- --conntrack-min={{ int64 .min }}
- --conntrack-tcp-timeout-established={{ .tcpEstablishedTimeout }}
- --conntrack-tcp-timeout-close-wait={{ .tcpCloseWaitTimeout }}
- --conntrack-tcp-be-liberal={{ .tcpBeLiberal }}
- --conntrack-udp-timeout={{ .udpTimeout }}
- --conntrack-udp-timeout-stream={{ .udpStreamTimeout }}
{{- else -}}
- --conntrack-max-per-core=0
- --conntrack-tcp-timeout-established=0s
- --conntrack-tcp-timeout-close-wait=0s
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.detectLocalArgs" -}}
{{- with .Values.detectLocal -}}
- --detect-local-mode={{ .mode }}
{{- if and (eq .mode "ClusterCIDR") .clusterCIDRs }}
- --cluster-cidr={{ join "," .clusterCIDRs }}
{{- else if eq .mode "BridgeInterface" }}
- --pod-bridge-interface={{ .bridgeInterface }}
{{- else if eq .mode "InterfaceNamePrefix" }}
- --pod-interface-name-prefix={{ .interfaceNamePrefix }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* on and off are booleans in YAML, unless they are quoted. */}}
{{- define "kube-vmap.onOff" -}}
{{- if kindIs "bool" . }}{{ ternary "on" "off" . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* The same as a ProxyConfig has it. */}}
{{- define "kube-vmap.settings" -}}
detectLocal:
  {{- with .Values.detectLocal }}
  mode: {{ .mode }}
  {{- with .clusterCIDRs }}
  clusterCIDRs: {{ toJson . }}
  {{- end }}
  {{- with .bridgeInterface }}
  bridgeInterface: {{ . | quote }}
  {{- end }}
  {{- with .interfaceNamePrefix }}
  interfaceNamePrefix: {{ . | quote }}
  {{- end }}
  {{- end }}
masqueradeAll: {{ .Values.masqueradeAll }}
masqueradeBit: {{ int .Values.masqueradeBit }}
nodePortAddresses: {{ toJson .Values.nodePortAddresses }}
serviceProxyName: {{ .Values.serviceProxyName | quote }}
externalIPs: {{ toJson .Values.externalIPs }}
counters: {{ .Values.counters }}
coalesce: {{ .Values.coalesce }}
tableOwnership: {{ get (dict "auto" "Auto" "on" "Required" "off" "Disabled") (include "kube-vmap.onOff" .Values.tableOwnership) }}
conntrack:
  {{- with .Values.conntrack }}
  {{- if .enabled }}
  maxPerCore: {{ int64 .maxPerCore }}
  min: {{ int64 .min }}
  tcpEstablishedTimeout: {{ .tcpEstablishedTimeout }}
  tcpCloseWaitTimeout: {{ .tcpCloseWaitTimeout }}
  tcpBeLiberal: {{ .tcpBeLiberal }}
  udpTimeout: {{ .udpTimeout }}
  udpStreamTimeout: {{ .udpStreamTimeout }}
  {{- else }}
  maxPerCore: 0
  tcpEstablishedTimeout: 0s
  tcpCloseWaitTimeout: 0s
  {{- end }}
  {{- end }}
logging:
  verbosity: {{ int .Values.logging.verbosity }}
{{- end -}}

{{/* Whether the ProxyConfig default is this release's to write: the cluster knows the kind, and no other has made it. */}}
{{- define "kube-vmap.ownsProxyConfig" -}}
{{- if and .Values.proxyConfig.create (.Capabilities.APIVersions.Has "kube-vmap.io/v1alpha1/ProxyConfig") -}}
{{- $there := lookup "kube-vmap.io/v1alpha1" "ProxyConfig" "" "default" -}}
{{- if or (not $there) (eq (dig "metadata" "annotations" "meta.helm.sh/release-name" "" $there) .Release.Name) -}}
true
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-vmap.args" -}}
- run
{{ include "kube-vmap.detectLocalArgs" . }}
- --masquerade-all={{ .Values.masqueradeAll }}
- --masquerade-bit={{ int .Values.masqueradeBit }}
- --nodeport-addresses={{ join "," .Values.nodePortAddresses }}
{{- with .Values.serviceProxyName }}
- --service-proxy-name={{ . }}
{{- end }}
- --external-ips={{ join "," .Values.externalIPs }}
- --counters={{ eq .Values.counters "None" | ternary "off" (lower .Values.counters) }}
- --coalesce={{ .Values.coalesce }}
- --table-ownership={{ include "kube-vmap.onOff" .Values.tableOwnership }}
{{ include "kube-vmap.conntrackArgs" . }}
- --healthz-bind-address={{ include "kube-vmap.hostPort" .Values.healthz }}
- --metrics-bind-address={{ include "kube-vmap.hostPort" .Values.metrics }}
{{- if .Values.profiling }}
- --profiling
{{- end }}
- --log-format={{ .Values.logging.format }}
- --v={{ int .Values.logging.verbosity }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}
