import { expect, test } from 'vitest'
import { fieldRule, removeNominated } from '../../../src/proxy/fields.ts'

test('hop-by-hop fields are dropped in any case', () => {
  for (const name of ['Keep-Alive', 'PROXY-CONNECTION', 'upgrade', 'HTTP2-Settings', 'Expect']) {
    expect(fieldRule(name).action, name).toBe('drop')
  }
})

test('what claims to be a forwarding field is dropped in every spelling that CGI reads alike', () => {
  for (const name of ['X-Forwarded-For', 'x_forwarded_for', 'X-Forwarded_Port', 'Forwarded', 'X_Real-IP']) {
    expect(fieldRule(name).action, name).toBe('drop')
  }
})

test('other fields pass with the name as written, first time and from the cache', () => {
  for (let i = 0; i < 2; i++)
    expect(fieldRule('X-My_Field')).toEqual({ action: 'forward', name: 'X-My_Field' })
})

test('more names than the cache holds are still judged right', () => {
  for (let i = 0; i < 2_000; i++) expect(fieldRule(`x-name-${i}`).action).toBe('forward')

  expect(fieldRule('X-Forwarded-Anything').action).toBe('drop')
})

test('Connection removes what it names, and not the framing', () => {
  const headers = ['A', '1', 'Content-Length', '3', 'b', '2', 'B', '3']

  removeNominated(headers, 'close, b ,content-length')

  expect(headers).toEqual(['A', '1', 'Content-Length', '3'])
})
