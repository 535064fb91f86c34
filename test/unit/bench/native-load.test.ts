/** An order becomes what the addon is told: whom to believe, from where to come, and when to begin. */

import { rootCertificates } from 'node:tls'
import { expect, test } from 'vitest'
import type { ClientOrder } from '../../../src/bench/handshake/messages.ts'
import { loadOptions, loadPlan } from '../../../src/bench/handshake/native-load.ts'

const order: ClientOrder = {
  address: '192.0.2.1',
  port: 8443,
  servername: 'one.test',
  ca: null,
  insecure: false,
  tls: '1.3',
  alpn: [],
  resumed: 0,
  load: { connections: 8 },
  process: 1,
  of: 4,
  warmUpMs: 100,
  measureMs: 1000,
  timeoutMs: 10_000,
  reset: false,
}

test('the processes of an open loop take turns in one even schedule', () => {
  const plans = [0, 1, 2, 3].map((process) => loadPlan({ ...order, load: { perSecond: 50 }, process }))

  // 200 a second together: one every 5 ms, and each process one every 20 ms.
  expect(plans.map(({ firstMs }) => firstMs)).toEqual([0, 5, 10, 15])
  expect(plans.map(({ intervalMs }) => intervalMs)).toEqual([20, 20, 20, 20])
  expect(plans.map(({ connections }) => connections)).toEqual([0, 0, 0, 0])
})

test('a closed loop has its connections and no schedule', () => {
  expect(loadPlan({ ...order, resumed: 0.5 })).toMatchObject({ connections: 8, resumed: 0.5 })
})

test('only on loopback the connections come from addresses of their own, others for each process', () => {
  const sources = [0, 1].map((process) => loadOptions({ ...order, address: '127.0.0.1', process }))

  expect(sources.map(({ sourceFirst, sourceStep }) => [sourceFirst, sourceStep])).toEqual([
    [0, 4],
    [1, 4],
  ])
  expect(loadOptions(order)).toMatchObject({ sourceFirst: 0, sourceStep: 0 })
})

test("without a CA Node's roots are believed, for the name or else the address", () => {
  const { verify, authorities, expectedName } = loadOptions(order)
  expect({ verify, expectedName }).toEqual({ verify: true, expectedName: 'one.test' })
  expect(authorities.split('-----BEGIN CERTIFICATE-----')).toHaveLength(rootCertificates.length + 1)

  expect(loadOptions({ ...order, servername: null, ca: ['PEM'] })).toMatchObject({
    serverName: '',
    expectedName: '192.0.2.1',
    authorities: 'PEM',
  })
  expect(loadOptions({ ...order, insecure: true }).verify).toBe(false)
})

test('tickets are read only where something is resumed: they cost', () => {
  expect(loadOptions(order).tickets).toBe(false)
  expect(loadOptions({ ...order, resumed: 0.1 }).tickets).toBe(true)
})
