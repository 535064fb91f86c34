import type { SignReport } from './sign-report.ts'
export function signReportHtml(report: SignReport, _o: { resumed: number }): string {
  return report.format
}
