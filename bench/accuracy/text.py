"""Sentences that the text networks are measured on: written for this purpose, and fixed, so that figures stay."""

from __future__ import annotations

_TEXT = """
The ferry leaves at half past six, and the next one only after noon.
Please keep the receipt: without it we cannot give you your money back.
Her grandmother planted the walnut tree in the spring of 1948.
A storm from the north is expected to reach the islands on Thursday.
The library lends tools as well: drills, ladders, even a sewing machine.
Water boils at a lower temperature on the top of a mountain.
He forgot his umbrella on the train for the third time this month.
The museum is closed on Mondays, except in July and August.
Our team lost by two points although it led for most of the game.
Turn left behind the church and follow the river for 400 metres.
The recipe wants three eggs, a spoon of honey and 250 g of flour.
Nobody could say who had painted the small portrait in the hall.
The new bridge carries trams, bicycles and people, but no cars.
Prices for coffee rose by 12 percent after the poor harvest.
She learned to play the cello when she was already forty.
Invoice no. 20417 was paid twice; the second payment will be returned.
The cat sleeps on the radiator and leaves it only for dinner.
Parliament votes on the law for the protection of rivers next week.
Is there a pharmacy that is open on Sunday near the station?
The engine makes a strange noise whenever it is cold outside.
Children under six travel free if an adult comes along.
An old map showed a well where now the car park lies.
The doctor told him to walk an hour a day and to eat less salt.
Our flight was cancelled, so we spent the night in the airport hotel.
Bees find their way home by the position of the sun.
The third volume of the dictionary has been missing for years.
Room 214 is on the second floor, opposite the lift.
They sold the farm and moved to a flat with a view of the harbour.
The printer is out of paper again, and so is the cupboard.
In winter the lake freezes so hard that lorries drive across it.
Write your name, your address and the date at the top of the form.
The orchestra rehearses the last movement until everybody is content.
A bicycle without lights was parked in front of the bakery.
Light takes about eight minutes from the sun to the earth.
The shop offers a discount of 15% on all shoes until Saturday.
My brother repairs clocks, some of them older than our house.
The witness remembered the colour of the car, but not its number.
Tomatoes need much sun, little wind and water every evening.
The meeting was moved from Tuesday, 10:30, to Friday, 9:00.
After the concert it took an hour to find a taxi.
The village has a school, a mill, two inns and no shop.
Scientists measured the height of the glacier with a laser.
You may keep the book for four weeks and renew it twice.
The goalkeeper caught the ball and threw it far up the field.
An apple fell from the cart and rolled under the bench.
The password must have eight characters and at least one digit.
Snow covered the tracks before the dogs could follow them.
The court decided that the contract had never been valid.
Grandfather told the same story each time, with a new ending.
The night train to the coast has two sleeping cars and a diner.
Cut the bread into thin slices and toast them on both sides.
A red lamp warns the driver when the door is not shut.
The painter used only four colours and a broad brush.
The power failed at 21:15, and the whole street went dark.
We counted thirty herons on the meadow behind the dike.
The bank asks for two documents before it opens an account.
He speaks Portuguese with his mother and Danish with his children.
The tide comes in quickly here: never walk out alone.
Tickets cost 18 euros, or 9 for students and pupils.
The carpenter built a table from the planks of the old floor.
Fog delayed the boats, and the market opened late.
The program reads the file, sorts the lines and removes the doubles.
Her suitcase arrived two days later, wet and without its label.
A fox crossed the yard, stopped for a moment and looked back.
The lease ends on 31 March unless both sides extend it.
The teacher drew a triangle and asked for the sum of its angles.
Olives from this valley are pressed on the day they are picked.
The radio played a song that neither of them had heard for years.
Rain is good for the garden, but bad for the wedding.
The company builds pumps for hospitals in eleven countries.
Do not open the window while the air conditioning is running.
The dentist has no free appointment before the end of May.
The actors bowed, the curtain fell and the lights came on.
Two of the five witnesses changed what they had said before.
The path is steep at first and becomes easy beyond the chapel.
A single key opens the gate, the cellar and the letter box.
The satellite sends a picture of the coast every ninety minutes.
She poured the tea, cut the cake and said nothing at all.
The exhibition shows photographs of harbours from 1890 to 1930.
The battery lasts nine hours, less if the screen is bright.
The mayor opened the new playground together with the children.
Steel expands when it gets warm, which is why rails have gaps.
The dog barks at the postman, yet never at burglars.
Half of the passengers were asleep when the coach arrived.
The survey says that people sleep less than they did in 1990.
Please hold the handrail, and mind the gap at the platform.
The baker starts at three in the morning, six days a week.
The island has one doctor, one policeman and 700 sheep.
The mistake was small: a comma in place of a full stop.
The harvest began early because the summer had been so dry.
The judge read the letter aloud and then closed the file.
Our neighbours keep chickens and give away what eggs they do not need.
The climbers waited two days for the wind to calm down.
The box holds 48 candles, white, 20 cm, made of beeswax.
The second edition corrects the tables on pages 112 and 113.
A stranger paid for our lunch and left before we could thank him.
The canal joins two rivers and lies 30 metres above the sea.
The choir sings on the first Sunday of each month.
The thermometer at the town hall shows minus four degrees.
He counted the coins, put them back and shut the drawer.
The new timetable is valid from 12 December.
The lighthouse was built of granite and has stood for 160 years.
The nurse wrote down the pulse, the temperature and the hour.
"""


SENTENCES = tuple(_TEXT.strip().splitlines())


def half(seed: int) -> tuple[str, ...]:
    """Every second sentence: seeds that differ by one, as those of calibration and evaluation do, share none."""
    return SENTENCES[seed % 2 :: 2]
