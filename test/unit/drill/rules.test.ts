/** What a drill may say: the fault module's words come out, or the place and the cure of every mistake. */

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CALLS, EFFECTS, moduleRules } from '../../../src/drill/rules.ts'

const source = readFileSync(new URL('../../../src/drill/p11-faults.c', import.meta.url), 'utf8')

test.each([
  ['C_Sign fail CKR_DEVICE_ERROR', 'C_Sign rv 0x30'],
  ['C_Sign fail CKR_DEVICE_ERROR always', 'C_Sign rv 0x30'],
  ['C_Login fail 0x80000123 times 3', 'C_Login rv 0x80000123 times 3'],
  ['  *   delay 5ms-20ms  probability 0.25', '* delay 5000-20000 probability 0.25'],
  ['C_Sign delay 300us', 'C_Sign delay 300'],
  ['C_Sign delay 2s', 'C_Sign delay 2000000'],
  ['C_Initialize hang', 'C_Initialize hang'],
  ['C_Sign exit 7', 'C_Sign exit 7'],
  ['C_Sign wrong times 1', 'C_Sign wrong times 1'],
  ['C_Sign rate 200', 'C_Sign rate 200'],
  ['C_OpenSession cap 4', 'C_OpenSession cap 4'],
  ['C_OpenSession read-only-refused', 'C_OpenSession read-only-refused'],
  ['C_GetTokenInfo flags CKF_USER_PIN_FINAL_TRY', 'C_GetTokenInfo flags 0x20000'],
  ['* removed', '* removed'],
])('%j becomes %j', (rule, expected) => {
  expect(moduleRules([rule])).toEqual([expected])
})

test.each(['reboot', 'logout'])('each %s is another one than before', (event) => {
  const seen = new Set(Array.from({ length: 5 }, () => moduleRules([`* ${event}`])[0]))

  expect(seen.size).toBeGreaterThan(1)
  for (const line of seen) expect(line).toMatch(new RegExp(`^\\* ${event} [1-9]\\d{0,4}$`))
})

test.each([
  ['', 'word 1: "" is no call: take one of C_Initialize'],
  ['C_Sing hang', '; did you mean "C_Sign"?'],
  ['C_Sign fial CKR_DEVICE_ERROR', 'word 2: "fial" is no effect: take one of fail'],
  ['C_Sign constructor', 'word 2: "constructor" is no effect'],
  ['C_Login wrong', 'word 1: "wrong" is an effect of C_Sign only'],
  ['C_Sign removed', 'word 1: "removed" is an effect of * only'],
  ['C_Sign fail CKR_DEVICE_EROR', 'word 3: "CKR_DEVICE_EROR" is no CKR_… (names as in PKCS#11'],
  ['C_Sign fail CKR_OK', 'word 3: "CKR_OK" is no CKR_…'],
  ['C_Sign fail', 'word 3: "" is no CKR_…'],
  ['C_Sign delay 5', 'word 3: "5" is no 5ms or 5ms-20ms'],
  ['C_Sign delay 20ms-5ms', 'word 3: "20ms-5ms" is no 5ms or 5ms-20ms'],
  ['C_Sign rate 9', 'word 3: "9" is no N'],
  ['C_Sign exit 256', 'word 3: "256" is no STATUS'],
  ['C_GetTokenInfo flags CKF_USER_PIN_LOKED', '; did you mean "CKF_USER_PIN_LOCKED"?'],
  ['C_Sign hang sometimes', 'word 3: "sometimes" is not one of always, times N, probability P (0 to 1)'],
  ['C_Sign delay 5ms times 0', 'word 4: "times 0" is not one of always'],
  ['C_Sign hang probability 1.5', 'word 3: "probability 1.5" is not one of always'],
  ['C_Sign hang times 1 2', 'word 3: "times 1 2" is not one of always'],
])('%j is refused with its place', (rule, says) => {
  expect(() => moduleRules([rule])).toThrow(`rule 1, word `)
  expect(() => moduleRules([rule])).toThrow(says)
})

test('every mistake of every rule is told at once', () => {
  expect(() => moduleRules(['C_Sing hang', 'C_Sign hang', 'C_Sign hnag'])).toThrow(
    /^rule 1, word 1: .*\nrule 3, word 2: [^\n]*$/,
  )
})

test('the calls are those in which the fault module stands, and it knows every effect', () => {
  const calls = [...source.matchAll(/\b(?:RETURN_FAULT|Faults)\("(C_\w+)"\)/g)].map(([, name]) => name)

  expect(new Set(CALLS)).toEqual(new Set(calls))
  for (const [name, { word = name }] of Object.entries(EFFECTS)) expect(source).toContain(`"${word}"`)
})
