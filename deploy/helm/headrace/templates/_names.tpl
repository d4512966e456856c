{{- define "headrace.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "headrace.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "headrace.chosen" . }}
{{- end -}}

{{- define "headrace.chosen" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "headrace.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "headrace.environment" -}}
- name: HEADRACE_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secrets.database }}
      key: url
- name: HEADRACE_BLOB_URL
  value: {{ .Values.blobUrl | quote }}
{{- if .Values.secrets.masterKey }}
- name: HEADRACE_MASTER_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secrets.masterKey }}
      key: key
{{- end }}
{{- range $name, $value := .Values.environment }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "headrace.mounts" -}}
- name: home
  mountPath: /var/lib/headrace
- name: tmp
  mountPath: /tmp
- name: settings
  mountPath: /var/lib/headrace/headrace.toml
  subPath: headrace.toml
  readOnly: true
- name: recipes
  mountPath: /var/lib/headrace/recipes
  readOnly: true
{{- end -}}

{{- define "headrace.volumes" -}}
- name: home
  emptyDir: {}
- name: tmp
  emptyDir: {}
- name: settings
  configMap:
    name: {{ include "headrace.name" . }}-settings
- name: recipes
  configMap:
    name: {{ include "headrace.name" . }}-recipes
{{- end -}}
