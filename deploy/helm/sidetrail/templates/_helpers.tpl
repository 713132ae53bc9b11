{{- define "sidetrail.labels" -}}
app.kubernetes.io/name: sidetrail
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sidetrail
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "sidetrail.selector" -}}
app.kubernetes.io/name: sidetrail
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* By digest where there is one. */}}
{{- define "sidetrail.image" -}}
{{- $image := .root.Values.image -}}
{{- $base := printf "%s/%s" $image.registry .name -}}
{{- if .digest -}}{{ printf "%s@%s" $base .digest }}{{- else -}}{{ printf "%s:%s" $base (default .root.Chart.AppVersion $image.tag) }}{{- end -}}
{{- end -}}

{{- define "sidetrail.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "sidetrail.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Scheduling, the same for every component. */}}
{{- define "sidetrail.scheduling" -}}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .values.affinity }}
affinity: {{- toYaml .values.affinity | nindent 2 }}
{{- else }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "sidetrail.selector" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "sidetrail.selector" . | nindent 8 }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* How the bucket is reached. */}}
{{- define "sidetrail.storeEnv" -}}
- { name: AWS_REGION, value: {{ .Values.region | quote }} }
{{- with .Values.store.endpoint }}
- { name: AWS_ENDPOINT_URL_S3, value: {{ . | quote }} }
{{- end }}
{{- end -}}

{{- define "sidetrail.storeEnvFrom" -}}
{{- with .Values.store.credentialsSecret }}
- secretRef: { name: {{ . }} }
{{- end }}
{{- end -}}

{{/* Out to the bucket and to name servers. */}}
{{- define "sidetrail.storeEgress" -}}
- ports: {{- range .Values.networkPolicy.storePorts }}
    - { port: {{ . }}, protocol: TCP }
  {{- end }}
  {{- with .Values.networkPolicy.storePeers }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{ include "sidetrail.dnsEgress" . }}
{{- end -}}

{{- define "sidetrail.dnsEgress" -}}
- ports:
    - { port: 53, protocol: UDP }
    - { port: 53, protocol: TCP }
{{- end -}}

{{/* In from Prometheus. */}}
{{- define "sidetrail.monitoringIngress" -}}
- ports:
    - { port: {{ .port }}, protocol: TCP }
  {{- with .root.Values.networkPolicy.monitoringNamespaceSelector }}
  from:
    - namespaceSelector: {{- toYaml . | nindent 8 }}
  {{- end }}
{{- end -}}

{{- define "sidetrail.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: sidetrail-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "sidetrail.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "sidetrail.selector" . | nindent 6 }}
{{- end -}}

{{- define "sidetrail.serviceMonitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: sidetrail-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidetrail.labels" . | nindent 4 }}
    {{- with .root.Values.monitoring.labels }}{{ toYaml . | nindent 4 }}{{- end }}
spec:
  selector:
    matchLabels: {{- include "sidetrail.selector" . | nindent 6 }}
  endpoints:
    - { port: metrics, path: /metrics, interval: 30s }
{{- end -}}
